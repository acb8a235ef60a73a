"""The TLS settings of an `http_config`, as an SSLContext that follows its files."""

import ssl
import tempfile
from functools import cache
from pathlib import Path

from scraper.errors import RequestError, ScraperError
from scraper.http_config import TLSConfig, TLSVersion
from scraper.http_files import FollowedFiles, SecretFile, Texts

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
        self._files = FollowedFiles(
            {
                key: SecretFile(directory, getattr(config, f"{key}_file"))
                for key in ("ca", "cert", "key")
                if getattr(config, f"{key}_file")
            }
        )
        self.may_wait = bool(self._files)
        """Whether `current` may take its time."""
        self._texts: Texts = {}
        self._context: ssl.SSLContext | None = None
        low, high = config.min_version, config.max_version
        if low and high and _VERSIONS[high] < _VERSIONS[low]:
            raise ScraperError(f"tls_config: max_version {high} is below min_version {low}")
        if config != TLSConfig():
            try:
                self._update(self._files.read())
            except RequestError as error:
                raise ScraperError(f"tls_config: {error}") from error

    async def current(self) -> ssl.SSLContext:
        """The context for new connections. Raises RequestError where changed files are unusable."""
        if self._config == TLSConfig():
            return _default_context()
        try:
            return self._update(await self._files.current())
        except RequestError as error:
            raise RequestError(f"tls_config: {error}") from error

    def _update(self, texts: Texts) -> ssl.SSLContext:
        if self._context is None or texts != self._texts:
            self._context = self._make(texts)
            self._texts = texts
        return self._context

    def _make(self, texts: Texts) -> ssl.SSLContext:
        config = self._config
        ca, cert, key = (texts.get(name) or getattr(config, name) for name in ("ca", "cert", "key"))
        try:
            context = ssl.create_default_context(cadata=ca or None)
        except (ssl.SSLError, ValueError) as error:
            raise RequestError(f"{config.ca_file or 'ca'} cannot be used: {error}") from error
        if cert:
            try:
                _load_cert_chain(context, cert, key)
            except (OSError, ssl.SSLError) as error:
                names = f"{config.cert_file or 'cert'} with {config.key_file or 'key'}"
                raise RequestError(f"{names} cannot be used: {error}") from error
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
