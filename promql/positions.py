"""Where each node of an expression starts in its source; promql-parser does not keep that.

The cursor goes through the tokens in step with the translation of the AST. A token it did not expect makes it lose
its way for the rest of the query: positions are then None, and annotations go without.
"""

import re

_TOKEN = re.compile(
    r"""
      (?P<space>(?:\s+|\#[^\n]*)+)
    | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<number>(?:0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?)
        (?:(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdwy]))*)?)
    | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<punctuation>==|!=|<=|>=|=~|!~|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_END = ("end", "", 0)


class Cursor:
    """Goes forward over the tokens of a query; each method takes what its name says and tells where it began."""

    def __init__(self, source: str) -> None:
        self._tokens = [
            (match.lastgroup or "", match[0], match.start())
            for match in _TOKEN.finditer(source)
            if match.lastgroup != "space"
        ]
        self._next = 0
        self._lost = False

    def number(self) -> int | None:
        """A number with its signs, which the parser folds into it."""
        self._skip_plus()
        start = self._peek()[2]
        while self._peek()[1] in ("-", "+"):
            self._next += 1
        kind, text, _ = self._peek()
        return self._take(kind == "number" or text.lower() in ("inf", "nan"), start)

    def string(self) -> tuple[int | None, str]:
        """A string literal, and its text as it is written; empty where the cursor is lost."""
        kind, text, start = self._peek()
        position = self._take(kind == "string", start)
        return position, "" if position is None else text

    def punctuation(self, text: str) -> int | None:
        """One mark; unary plus signs before it are passed over."""
        if text in ("-", "("):
            self._skip_plus()
        return self._take(self._peek()[1] == text, self._peek()[2])

    def call(self) -> int | None:
        """The name of a function and its opening parenthesis."""
        self._skip_plus()
        start = self._take(self._peek()[0] == "word", self._peek()[2])
        self.punctuation("(")
        return start

    def aggregation(self) -> int | None:
        """The name of an aggregation, a grouping clause if it comes here, and the opening parenthesis."""
        self._skip_plus()
        start = self._take(self._peek()[0] == "word", self._peek()[2])
        self.grouping()
        self.punctuation("(")
        return start

    def grouping(self) -> None:
        """`by (...)` or `without (...)`, if there is one."""
        if self._peek()[1].lower() in ("by", "without"):
            self._next += 1
            self._skip_bracketed("(", ")")

    def selector(self) -> int | None:
        """A selector with its matchers, range and modifiers."""
        self._skip_plus()
        kind, text, start = self._peek()
        if kind == "word":
            self._next += 1
        elif text != "{":
            return self._take(False, start)
        if self._peek()[1] == "{":
            self._skip_bracketed("{", "}")
        # `x[5m:1m]` is a subquery over `x`: its brackets are left for subquery_range.
        if self._peek()[1] == "[" and not self._is_subquery():
            self._skip_bracketed("[", "]")
        self._modifiers()
        return None if self._lost else start

    def subquery_range(self) -> None:
        """`[range:step]` and the modifiers behind it."""
        self._skip_bracketed("[", "]")
        self._modifiers()

    def operator(self) -> None:
        """A binary operator and its matching clauses."""
        self._next += 1
        while (word := self._peek()[1].lower()) in (
            "bool",
            "on",
            "ignoring",
            "group_left",
            "group_right",
            "fill",
            "fill_left",
            "fill_right",
        ):
            takes_list = self._peek(1)[1] == "("
            if word.startswith("fill") and not takes_list:
                return  # a metric of that name
            self._next += 1
            if takes_list and word != "bool":
                self._skip_bracketed("(", ")")

    def _modifiers(self) -> None:
        while True:
            _, text, _ = self._peek()
            if text.lower() == "offset":
                self._next += 1
                self.number()
            elif text == "@":
                self._next += 1
                if self._peek()[1].lower() in ("start", "end"):
                    self._next += 3
                else:
                    self.number()
            else:
                return

    def _is_subquery(self) -> bool:
        for kind, text, _ in self._tokens[self._next :]:
            if text == "]":
                return False
            if kind in ("punctuation", "word") and text.startswith(":"):
                return True
        return False

    def _skip_bracketed(self, opening: str, closing: str) -> None:
        self._take(self._peek()[1] == opening, 0)
        while not self._lost and self._peek()[1] != closing:
            self._take(self._peek() != _END, 0)
        self._take(self._peek()[1] == closing, 0)

    def _skip_plus(self) -> None:
        while self._peek()[1] == "+":
            self._next += 1

    def _peek(self, ahead: int = 0) -> tuple[str, str, int]:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else _END

    def _take(self, expected: bool, start: int) -> int | None:
        self._lost = self._lost or not expected
        self._next += 1
        return None if self._lost else start


def line_and_column(source: str, position: int) -> str:
    """`line:column` of an offset, both from 1, as Prometheus prints positions."""
    line_start = source.rfind("\n", 0, position) + 1
    return f"{source.count(chr(10), 0, position) + 1}:{position - line_start + 1}"
