"""Text to tokens.

Three ways of reading follow each other: statements, the inside of braces, and the beginning of brackets, up to the
first number there. Each has a regular expression for what is usual; what it does not match is looked at character by
character, mostly to say what is wrong. An error is the last token of a text.
"""

import re

from promql.syntax.literals import describe_rune, quote, quote_rune
from promql.syntax.tokens import (
    DURATION,
    END,
    ERROR,
    FILLS,
    IDENTIFIER,
    METRIC_IDENTIFIER,
    NUMBER,
    STRING,
    WORDS,
    Token,
)

_SPACE = r"(?P<space>(?:[ \t\n\r]+|\#[^\n\r]*)+)"
_PLAIN_STRING = r'(?P<string>"[^"\\\n\ufffd\ud800-\udfff]*"|' + r"'[^'\\\n\ufffd\ud800-\udfff]*')"
_NUMBER = r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?![\w.])"
_DURATION = r"(?P<duration>[0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdw]))*)(?!\w)"

_STATEMENTS = re.compile(
    rf"{_SPACE}|(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<mark>==|!=|<=|>=|</|>/|=(?!~)|[,*/%+\-^<>()\[\]{{@])"
    rf"|{_NUMBER}|{_DURATION}|{_PLAIN_STRING}",
    re.ASCII,
)
_BRACES = re.compile(rf"{_SPACE}|(?P<word>[a-zA-Z_][a-zA-Z0-9_]*)|(?P<mark>=~|!~|!=|[,=}}])|{_PLAIN_STRING}", re.ASCII)
_BRACKETS = re.compile(
    rf"(?P<space>[ \t\n\r]+)|(?P<word>[a-zA-Z_]+)|(?P<mark>[\]:()+\-*/%^,])|{_NUMBER}|{_DURATION}", re.ASCII
)
_LETTERS = re.compile(r"[a-zA-Z_]+")
_OPENING_PARENTHESIS = re.compile(r"[ \t\n\r]*\(")

# Inside of brackets there are no metric names: these words alone.
_DURATION_WORDS = frozenset({"max", "min", "range", "step"})
_FIRST_LETTERS = frozenset("sSmMrR")

_STRING_PARTS = {
    quotes: re.compile(rf"[^{quotes}\\\n\ufffd\ud800-\udfff]*") for quotes in ('"', "'")
}  # fmt: skip
_RAW_STRING_PART = re.compile(r"[^`\ufffd\ud800-\udfff]*")
_DIGITS = {8: "01234567", 10: "0123456789", 16: "0123456789abcdefABCDEF"}
_ESCAPE_CODES = {"x": (2, 16, 0xFF), "u": (4, 16, 0x10FFFF), "U": (8, 16, 0x10FFFF)}


class _LexError(Exception):
    """A message, and where it belongs."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start


def tokenize(source: str) -> list[Token]:
    """The tokens of a text; the last one is its END, or an ERROR."""
    lexer = _Lexer(source)
    try:
        lexer.run()
    except _LexError as error:
        lexer.tokens.append(Token(ERROR, str(error), error.start))
    return lexer.tokens


class _Lexer:
    def __init__(self, source: str) -> None:
        self.tokens: list[Token] = []
        self._source = source
        self._read = _STATEMENTS
        self._parentheses = 0
        self._in_brackets = False
        self._has_colon = False
        self._has_duration = False

    def run(self) -> None:
        source, tokens, position = self._source, self.tokens, 0
        while position < len(source):
            match = self._read.match(source, position)
            kind = match.lastgroup if match is not None else None
            if match is None:
                position = self._unusual(position)
                continue
            if kind == "word":
                position = self._word(match[0], position)
                continue
            if kind == "mark":
                self._mark(match[0], position)
            elif kind == "string":
                tokens.append(Token(STRING, match[0], position))
            elif kind != "space":
                self._number(NUMBER if kind == "number" else DURATION, match[0], position)
            position = match.end()
        self._end()

    def _end(self) -> None:
        end = len(self._source)
        if self._read is _BRACES:
            raise _LexError(end, "unexpected end of input inside braces")
        if self._read is _BRACKETS:
            raise _LexError(end, "unexpected end of input in duration expression")
        if self._parentheses:
            raise _LexError(end, "unclosed left parenthesis")
        if self._in_brackets:
            raise _LexError(end, "unclosed left bracket")
        self.tokens.append(Token(END, "", end))

    def _word(self, text: str, start: int) -> int:
        if self._read is _BRACES:
            self.tokens.append(Token(IDENTIFIER, text, start))
            return start + len(text)
        if self._in_brackets:
            return self._word_in_brackets(start)
        kind = WORDS.get(text.lower())
        if kind is None or (kind in FILLS and not _OPENING_PARENTHESIS.match(self._source, start + len(text))):
            kind = METRIC_IDENTIFIER if ":" in text and kind is None else IDENTIFIER
        self.tokens.append(Token(kind, text, start))
        return start + len(text)

    def _word_in_brackets(self, start: int) -> int:
        first = self._source[start]
        if first == ":":
            self._colon(start)
            return start + 1
        match = _LETTERS.match(self._source, start)
        word = match[0] if match is not None else ""
        if first in _FIRST_LETTERS and word.lower() in _DURATION_WORDS:
            self.tokens.append(Token(word.lower(), word, start))
            return start + len(word)
        if self._read is _BRACKETS:
            raise _LexError(start, f"unexpected character in duration expression: {quote_rune(first)}")
        raise _LexError(start, f"unexpected character: {quote_rune(first)}, expected ':'")

    def _colon(self, start: int) -> None:
        if self._read is _BRACKETS:
            if not self._has_duration:
                raise _LexError(start + 1, "unexpected colon before duration in duration expression")
            if self._has_colon:
                raise _LexError(start + 1, "unexpected repeated colon in duration expression")
        elif self._has_colon:
            raise _LexError(start, "unexpected colon ':'")
        self.tokens.append(Token(":", ":", start))
        self._has_colon = True

    def _mark(self, text: str, start: int) -> None:
        if text == ":":
            self._colon(start)
            return
        if text == "[" and self._in_brackets:
            raise _LexError(start, "unexpected left bracket '['")
        if text == "]" and not self._in_brackets:
            raise _LexError(start, "unexpected right bracket ']'")
        self.tokens.append(Token(text, text, start))
        match text:
            case "(":
                self._parentheses += 1
            case ")":
                self._parentheses -= 1
                if self._parentheses < 0:
                    self.tokens.pop()
                    raise _LexError(start + 1, "unexpected right parenthesis ')'")
            case "{":
                self._read = _BRACES
            case "}" | "]":
                self._read = _STATEMENTS
                self._in_brackets = self._in_brackets and text == "}"
            case "[":
                self._read, self._in_brackets, self._has_colon = _BRACKETS, True, False

    def _number(self, kind: str, text: str, start: int) -> None:
        self.tokens.append(Token(kind, text, start))
        if self._in_brackets:
            self._read, self._has_duration = _STATEMENTS, True

    def _unusual(self, start: int) -> int:
        """Something beyond the regular expressions; where it ends. Raises _LexError."""
        source, character = self._source, self._source[start]
        following = source[start + 1 : start + 2]
        if character == "`" and self._read is not _BRACKETS:
            return self._raw_string(start)
        if character in "\"'" and self._read is not _BRACKETS:
            return self._string(start)
        if self._read is _BRACES:
            self._refuse_in_braces(character, following, start)
        if character in _DIGITS[10] or (character == "." and following and following in _DIGITS[10]):
            return self._unusual_number(start)
        if self._read is _BRACKETS:
            raise _LexError(start, f"unexpected character in duration expression: {quote_rune(character)}")
        if character in "=!":
            raise _LexError(start, f"unexpected character after '{character}': {quote_rune(following)}")
        raise _LexError(start, f"unexpected character: {quote_rune(character)}")

    def _refuse_in_braces(self, character: str, following: str, start: int) -> None:
        if character == "!":
            raise _LexError(start, f"unexpected character after '!' inside braces: {quote_rune(following)}")
        if character == "{":
            raise _LexError(start, "unexpected left brace '{'")
        raise _LexError(start, f"unexpected character inside braces: {quote_rune(character)}")

    def _unusual_number(self, start: int) -> int:
        scanned = _NumberScan(self._source, start)
        if scanned.is_number():
            self._number(NUMBER, self._source[start : scanned.position], start)
            return scanned.position
        if scanned.is_duration():
            self._number(DURATION, self._source[start : scanned.position], start)
            return scanned.position
        raise _LexError(start, f"bad number or duration syntax: {quote(self._source[start : scanned.position])}")

    def _raw_string(self, start: int) -> int:
        match = _RAW_STRING_PART.match(self._source, start + 1)
        end = match.end() if match is not None else start
        if end == len(self._source):
            raise _LexError(start, "unterminated raw string")
        if self._source[end] != "`":
            raise _LexError(start, "invalid UTF-8 rune")
        self.tokens.append(Token(STRING, self._source[start : end + 1], start))
        return end + 1

    def _string(self, start: int) -> int:
        source, quotes, position = self._source, self._source[start], start + 1
        while True:
            match = _STRING_PARTS[quotes].match(source, position)
            position = match.end() if match is not None else position
            character = source[position : position + 1]
            if character == quotes:
                break
            if character == "\\":
                position = self._escape(start, position + 1, quotes)
            elif character in ("", "\n"):
                raise _LexError(start, "unterminated quoted string")
            else:
                raise _LexError(start, "invalid UTF-8 rune")
        self.tokens.append(Token(STRING, source[start : position + 1], start))
        return position + 1

    def _escape(self, start: int, position: int, quotes: str) -> int:
        """Checks what follows a backslash; where that ends. Raises _LexError at the start of the string."""
        source = self._source
        name = source[position : position + 1]
        if not name:
            raise _LexError(start, "escape sequence not terminated")
        if name in "abfnrtv\\" or name == quotes:
            return position + 1
        if name in _DIGITS[8]:
            count, base, greatest = 3, 8, 0xFF
        elif name in _ESCAPE_CODES:
            count, base, greatest = _ESCAPE_CODES[name]
            position += 1
        else:
            raise _LexError(start, f"unknown escape sequence {describe_rune(name)}")
        for index in range(position, position + count):
            if index >= len(source):
                raise _LexError(start, "escape sequence not terminated")
            if source[index] not in _DIGITS[base]:
                raise _LexError(start, f"illegal character {describe_rune(source[index])} in escape sequence")
        code = int(source[position : position + count], base)
        if code > greatest or 0xD800 <= code < 0xE000:
            raise _LexError(start, "escape sequence is an invalid Unicode code point")
        return position + count


class _NumberScan:
    """Reads a number or duration as far as it goes; `position` is behind what was looked at.

    How far that is shows in the message for what is neither.
    """

    def __init__(self, source: str, start: int) -> None:
        self._source = source
        self._start = start
        self.position = start

    def is_number(self) -> bool:
        """Digits with underscores between them, one point, one exponent; or hexadecimal digits."""
        digits = _DIGITS[10]
        if self._take("0") and self._take("xX"):
            self._take("_")
            digits = _DIGITS[16]
        self._take(".")
        self._take(digits)
        seen = ""
        while self._next() and self._next() in digits + "._eE":
            mark = self._next()
            if mark in "._eE":
                if mark != "_" and mark.lower() in seen:
                    self.position += 1
                    return False
                seen += mark.lower()
                self.position += 1
                if not self._follows(mark, digits):
                    return False
            while self._take(digits):
                pass
        return not _is_word_character(self._next())

    def _follows(self, mark: str, digits: str) -> bool:
        """Whether what comes behind a point, an underscore or the letter of an exponent may be there."""
        if mark == ".":
            return not self._take("_.") and digits is _DIGITS[10]
        if mark != "_":
            self._take("+-")
        return not self._take("._eE") and self._next() != ""

    def is_duration(self) -> bool:
        """Goes on behind what `is_number` took."""
        if not self._take("smhdwy"):
            return False
        self._take("s")
        while self._take(_DIGITS[10]):
            while self._take(_DIGITS[10]):
                pass
            if not self._take("smhdw"):
                return False
            self._take("s")
        if _is_word_character(self._next()):
            self.position += 1
            return False
        return True

    def _next(self) -> str:
        return self._source[self.position : self.position + 1]

    def _take(self, characters: str) -> bool:
        character = self._next()
        if not character or character not in characters:
            return False
        self.position += 1
        return True


def _is_word_character(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())
