"""The tokens of PromQL, and how error messages name them."""

from typing import NamedTuple

from promql.syntax.literals import quote

IDENTIFIER = "identifier"
METRIC_IDENTIFIER = "metric identifier"
NUMBER = "number"
DURATION = "duration"
STRING = "string"
END = "end of input"
ERROR = "error"

SET_OPERATORS = frozenset({"and", "or", "unless"})
COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
OPERATORS = SET_OPERATORS | COMPARISONS | {"+", "-", "*", "/", "%", "^", "atan2", "=~", "!~", "@", "</", ">/"}
AGGREGATORS_WITH_PARAMETER = frozenset({"bottomk", "count_values", "limit_ratio", "limitk", "quantile", "topk"})
AGGREGATORS = AGGREGATORS_WITH_PARAMETER | {"avg", "count", "group", "max", "min", "stddev", "stdvar", "sum"}
KEYWORDS = frozenset(
    {"anchored", "bool", "by", "fill", "fill_left", "fill_right", "group_left", "group_right"}
    | {"ignoring", "offset", "on", "smoothed", "without"}
)
PREPROCESSORS = frozenset({"start", "end", "step", "range"})
FILLS = frozenset({"fill", "fill_left", "fill_right"})
SPECIAL_NUMBERS = frozenset({"inf", "nan"})
WORDS = {
    **{word: word for word in SET_OPERATORS | {"atan2"} | AGGREGATORS | KEYWORDS | PREPROCESSORS},
    **dict.fromkeys(SPECIAL_NUMBERS, NUMBER),
}
"""The words that are no identifiers, in lower case, with their kinds."""

METRIC_NAMES = frozenset(
    {IDENTIFIER, METRIC_IDENTIFIER, "anchored", "by", "offset", "smoothed", "without"}
    | AGGREGATORS | PREPROCESSORS | SET_OPERATORS | FILLS
)  # fmt: skip
"""The kinds that can be the name of a metric."""

LABEL_NAMES = (METRIC_NAMES | KEYWORDS | {"atan2"}) - {"without"}
"""The kinds that can be the name of a label in a grouping."""

_SHOWN_CHARACTERS = 10


class Token(NamedTuple):
    """A piece of the text. `kind` is one of the constants above, or the canonical text of a word or mark.

    `text` is as written, or the message of an ERROR; `start` is its first character.
    """

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The character behind it."""
        return self.start + len(self.text)

    def describe(self) -> str:
        """As error messages name it."""
        kind, text = self.kind, self.text
        if kind == END:
            return END
        if kind in KEYWORDS:
            return f"<{text}>"
        if kind in OPERATORS:
            return f"<op:{text}>"
        if kind in AGGREGATORS:
            return f"<aggr:{text}>"
        if kind in (IDENTIFIER, METRIC_IDENTIFIER):
            return f"{kind} {quote(text)}"
        shown = quote(text[:_SHOWN_CHARACTERS])
        if len(text.encode("utf-8", "replace")) > _SHOWN_CHARACTERS:
            shown += "..."
        return f"{kind} {shown}" if kind in (NUMBER, DURATION, STRING) else shown
