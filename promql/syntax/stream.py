"""The tokens of a text, one after the other."""

from promql.errors import ParseError
from promql.syntax.errors import parse_error
from promql.syntax.lexer import tokenize
from promql.syntax.tokens import ERROR, Token

# Neither the recursion of the parser, which takes more frames, nor the evaluator's survives thousands of levels.
MAX_NESTING = 100


class UnexpectedTokenError(Exception):
    """The next token fits nowhere. What is being parsed says so, in its words; it never leaves the parser."""


class TokenStream:
    """Looks one token ahead. An ERROR of the lexer is raised when it is the next to be looked at."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._tokens = tokenize(source)
        self._next = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        """The next one. Raises ParseError for what is no token."""
        token = self._tokens[self._next]
        if token.kind == ERROR:
            raise self.error(token.start, token.text)
        return token

    @property
    def kind(self) -> str:
        """The kind of the next token. Raises ParseError for what is no token."""
        token = self._tokens[self._next]
        if token.kind == ERROR:
            raise self.error(token.start, token.text)
        return token.kind

    @property
    def following_kind(self) -> str:
        """The kind of the token behind the next one. Raises ParseError for what is no token."""
        token = self._tokens[self._next + 1]
        if token.kind == ERROR:
            raise self.error(token.start, token.text)
        return token.kind

    @property
    def last(self) -> Token:
        """The one taken last."""
        return self._tokens[self._next - 1]

    def accept(self, kind: str) -> bool:
        """Takes the next token if it is of a kind."""
        accepted = self.kind == kind
        self._next += accepted
        return accepted

    def take(self, *kinds: str) -> Token:
        """The next token, which must be of a kind, and go on. Raises UnexpectedTokenError."""
        token = self._tokens[self._next]
        if token.kind not in kinds:
            raise UnexpectedTokenError
        self._next += 1
        return token

    def error(self, position: int, message: str) -> ParseError:
        """An error at a character."""
        return parse_error(self.source, position, message)

    def unexpected(self, context: str = "", expected: str = "") -> ParseError:
        """The error of a next token that does not belong here."""
        token = self.token
        message = f"unexpected {token.describe()}"
        if context:
            message += f" in {context}"
        if expected:
            message += f", expected {expected}"
        return self.error(token.start, message)

    def enter(self) -> None:
        """One level deeper. Raises ParseError where that is too deep."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            message = f"expression is nested more than {MAX_NESTING} levels deep"
            raise self.error(self._tokens[self._next].start, message)

    def leave(self) -> None:
        """Back from a deeper level."""
        self._depth -= 1
