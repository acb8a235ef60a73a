"""What an `http_config` adds to each request: the Authorization header and `http_headers`, secrets from files included.

Files are followed: secrets are rotated while the process runs.
"""

import time
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from scraper.errors import RequestError
from scraper.http_config import HTTPConfig
from scraper.oauth2 import TokenSource

Headers = tuple[tuple[str, str], ...]

# A file that was written just before it was read may be written again without a new modification time.
_UNSETTLED_NS = 1_000_000_000


class SecretFile:
    """A small file's text, stripped, read again when the file changes; `name` is relative to `directory`.

    Looks at the file in the event loop: for a small local file that costs a twentieth of a hop to a thread.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.text = ""
        self._path = directory / name
        self._name = name
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> bool:
        """Read the file if it has changed; says whether the text did. Raises RequestError."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return False
            text = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            raise RequestError(f"the secret file {self._name} cannot be read: {error}") from error
        self._seen = seen if time.time_ns() - status.st_mtime_ns > _UNSETTLED_NS else None
        changed, self.text = text != self.text, text
        return changed


def refresh_all(files: Iterable[SecretFile]) -> bool:
    """Look at each file; says whether any has changed. Raises RequestError."""
    changed = False
    for file in files:
        changed = file.refresh() or changed
    return changed


class RequestHeaders:
    """The headers a config adds. Files are relative to `directory`; `tokens` is there where the config has oauth2."""

    def __init__(self, config: HTTPConfig, directory: Path, tokens: TokenSource | None) -> None:
        self._config = config
        self._tokens = tokens
        self._authorization = ""
        self._files = {name: SecretFile(directory, name) for name in _file_names(config)}
        self._headers: Headers | None = None

    async def current(self) -> Headers:
        """Names and values, the same object as long as they are the same. Raises RequestError."""
        changed = refresh_all(self._files.values())
        if self._tokens is not None:
            authorization = await self._tokens.authorization()
            changed = changed or authorization != self._authorization
            self._authorization = authorization
        if self._headers is None or changed:
            self._headers = tuple(self._make())
        return self._headers

    def _make(self) -> list[tuple[str, str]]:
        headers = []
        for name, header in self._config.http_headers.items():
            texts = [*header.values, *header.secrets, *(self._files[file].text for file in header.files)]
            headers += [(name, text) for text in texts]
        if authorization := self._authorization or self._credentials():
            headers.append(("Authorization", authorization))
        for name, value in headers:
            if any(character in value for character in "\r\n\0"):
                raise RequestError(f"the header {name} cannot be sent: its value has a line break or a zero byte")
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
        return self._files[file].text if file else ""


def _file_names(config: HTTPConfig) -> set[str]:
    names = {config.bearer_token_file}
    if config.basic_auth:
        names |= {config.basic_auth.username_file, config.basic_auth.password_file}
    if config.authorization:
        names.add(config.authorization.credentials_file)
    for header in config.http_headers.values():
        names.update(header.files)
    return names - {""}
