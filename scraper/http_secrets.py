"""What an `http_config` adds to each request: the Authorization header and `http_headers`, secrets from files included.

Files are followed: secrets are rotated while the process runs.
"""

import re
import time
from base64 import b64encode
from pathlib import Path

from scraper.errors import RequestError
from scraper.http_config import HTTPConfig
from scraper.oauth2 import TokenSource

Headers = tuple[tuple[str, str], ...]

# RFC 9110, 5.1 and 5.5.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# A file that was written just before it was read may be written again without a new modification time.
_UNSETTLED_NS = 1_000_000_000


class SecretFile:
    """A small file that is read again when it changes; `name` is relative to `directory`.

    Looks at the file in the event loop: for a small local file that costs a twentieth of a hop to a thread.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._text = ""
        self._path = directory / name
        self._name = name
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> str:
        """The text, stripped. Raises RequestError."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return self._text
            self._text = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            raise RequestError(f"the secret file {self._name} cannot be read: {error}") from error
        self._seen = seen if time.time_ns() - status.st_mtime_ns > _UNSETTLED_NS else None
        return self._text


class RequestHeaders:
    """The headers a config adds. Files are relative to `directory`; `tokens` is there where the config has oauth2."""

    def __init__(self, config: HTTPConfig, directory: Path, tokens: TokenSource | None) -> None:
        self._config = config
        self._tokens = tokens
        self._texts: dict[str, str] = {}
        self._token = ""
        self._files = {name: SecretFile(directory, name) for name in _file_names(config)}
        self._headers: Headers | None = None
        self.public: Headers = tuple(
            (name, text) for name, header in config.http_headers.items() for text in header.values
        )
        """Those without a secret, which may follow a redirect to a foreign host."""

    async def current(self) -> Headers:
        """Names and values, the same object as long as they are the same. Raises RequestError."""
        texts = {name: file.read() for name, file in self._files.items()}
        token = await self._tokens.authorization() if self._tokens is not None else ""
        if self._headers is None or texts != self._texts or token != self._token:
            self._texts, self._token = texts, token
            self._headers = None  # so that what cannot be sent is said again next time
            self._headers = tuple(self._make())
        return self._headers

    def _make(self) -> list[tuple[str, str]]:
        headers = []
        for name, header in self._config.http_headers.items():
            texts = [*header.values, *header.secrets, *(self._texts[file] for file in header.files)]
            headers += [(name, text) for text in texts]
        if authorization := self._token or self._credentials():
            headers.append(("Authorization", authorization))
        for name, value in headers:
            if not _NAME.fullmatch(name):
                raise RequestError(f"the header {name!r} cannot be sent: this is not a header's name")
            if _CONTROL.search(value):
                raise RequestError(f"the header {name} cannot be sent: its value has a control character")
        return headers

    def _credentials(self) -> str:
        config = self._config
        if basic := config.basic_auth:
            username = basic.username or self._text(basic.username_file)
            password = basic.password or self._text(basic.password_file)
            return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
        if token := config.authorization:
            return f"{token.type.strip() or 'Bearer'} {token.credentials or self._text(token.credentials_file)}"
        if config.bearer_token or config.bearer_token_file:
            return f"Bearer {config.bearer_token or self._text(config.bearer_token_file)}"
        return ""

    def _text(self, file: str) -> str:
        return self._texts[file] if file else ""


def _file_names(config: HTTPConfig) -> set[str]:
    names = {config.bearer_token_file}
    if config.basic_auth:
        names |= {config.basic_auth.username_file, config.basic_auth.password_file}
    if config.authorization:
        names.add(config.authorization.credentials_file)
    for header in config.http_headers.values():
        names.update(header.files)
    return names - {""}
