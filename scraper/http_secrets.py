"""What an `http_config` adds to each request: the Authorization header and `http_headers`, with secrets from files."""

import re
from base64 import b64encode
from pathlib import Path

from scraper.errors import RequestError
from scraper.http_config import HTTPConfig
from scraper.http_files import FollowedFiles, SecretFile, Texts
from scraper.oauth2 import TokenSource

Headers = tuple[tuple[str, str], ...]

# RFC 9110, 5.1 and 5.5.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestHeaders:
    """The headers a config adds. Files are relative to `directory`; `tokens` is there where the config has oauth2."""

    def __init__(self, config: HTTPConfig, directory: Path, tokens: TokenSource | None) -> None:
        self._config = config
        self._tokens = tokens
        self._texts: Texts = {}
        self._token = ""
        self._files = FollowedFiles(
            {name: SecretFile(directory, name, words) for name, words in _files_of(config).items()}
        )
        self.may_wait = bool(self._files) or tokens is not None
        """Whether `current` may take its time."""
        self._headers: Headers | None = None
        self.public: Headers = tuple(
            (name, text) for name, header in config.http_headers.items() for text in header.values
        )
        """Those without a secret, which may follow a redirect to a foreign host."""

    async def current(self) -> Headers:
        """Names and values, the same object as long as they are the same. Raises RequestError."""
        texts = await self._files.current()
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


def _files_of(config: HTTPConfig) -> dict[str, str]:
    """The files by name, each with what is said where it cannot be read (as prometheus/common does)."""
    words = {config.bearer_token_file: "unable to read authorization credentials: unable to read file"}
    if basic := config.basic_auth:
        words[basic.username_file] = "unable to read basic auth username: unable to read file"
        words[basic.password_file] = "unable to read basic auth password: unable to read file"
    if config.authorization:
        words[config.authorization.credentials_file] = "unable to read authorization credentials: unable to read file"
    for header in config.http_headers.values():
        words.update(dict.fromkeys(header.files, "unable to read headers file"))
    words.pop("", None)
    return words
