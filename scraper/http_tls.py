"""The TLS settings of an `http_config`, as an SSLContext that follows its files."""

import ssl
import tempfile
from functools import cache
from pathlib import Path

from scraper.errors import RequestError, ScraperError
from scraper.http_config import TLSConfig, TLSVersion
from scraper.http_secrets import SecretFile, refresh_all

_VERSIONS: dict[TLSVersion, ssl.TLSVersion] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


class TLS:
    """Whom to trust, and who to be. Raises ScraperError where a certificate is unusable from the start.

    A new context is made when a file has changed. Connections belong to the context they were made with, so that those
    at work go on and the next request makes a new one.
    """

    def __init__(self, config: TLSConfig, directory: Path) -> None:
        self._config = config
        self._files = {
            key: SecretFile(directory, getattr(config, f"{key}_file"))
            for key in ("ca", "cert", "key")
            if getattr(config, f"{key}_file")
        }
        self._context: ssl.SSLContext | None = None
        if config != TLSConfig():
            try:
                self.context()
            except RequestError as error:
                raise ScraperError(str(error)) from error

    def context(self) -> ssl.SSLContext:
        """The context for new connections. Raises RequestError where changed files are unusable."""
        if self._config == TLSConfig():
            return _default_context()
        changed = refresh_all(self._files.values())
        if self._context is None or changed:
            self._context = None  # so that unusable files are tried again next time
            self._context = self._make()
        return self._context

    def _pem(self, key: str) -> str:
        file = self._files.get(key)
        return file.text if file else str(getattr(self._config, key))

    def _make(self) -> ssl.SSLContext:
        config = self._config
        try:
            context = ssl.create_default_context(cadata=self._pem("ca") or None)
        except (ssl.SSLError, ValueError) as error:
            raise RequestError(f"tls_config: {config.ca_file or 'ca'} cannot be used: {error}") from error
        if cert := self._pem("cert"):
            try:
                _load_cert_chain(context, cert, self._pem("key"))
            except (OSError, ssl.SSLError) as error:
                names = f"{config.cert_file or 'cert'} with {config.key_file or 'key'}"
                raise RequestError(f"tls_config: {names} cannot be used: {error}") from error
        if config.min_version:
            context.minimum_version = _VERSIONS[config.min_version]
        if config.max_version:
            context.maximum_version = _VERSIONS[config.max_version]
        if "TLS10" in (config.min_version, config.max_version) or "TLS11" in (config.min_version, config.max_version):
            # OpenSSL 3 speaks these versions only where their hashes are allowed.
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        if config.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _load_cert_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    """The ssl module reads certificates from files only; a temporary one is readable by this user alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="utf-8") as file:
        file.write(f"{cert}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name, password=_no_password)


def _no_password() -> str:
    """Without it, OpenSSL would ask for an encrypted key's password on the terminal."""
    return ""
