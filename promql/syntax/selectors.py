"""The grammar of `name{label="value", ...}`."""

from common.labels import METRIC_NAME
from common.matchers import Matcher, MatcherError, MatchType
from promql.syntax.literals import as_utf8, unquote
from promql.syntax.nodes import NO_MODIFIERS, VectorSelector
from promql.syntax.stream import TokenStream
from promql.syntax.tokens import IDENTIFIER, STRING, Token

_MATCH_OPERATORS = {match_type.value: match_type for match_type in MatchType}
_CONTEXT = "label matching"


def parse_selector(stream: TokenStream) -> VectorSelector:
    """A name, braces, or both. Raises ParseError."""
    if stream.kind == "{":
        opening = stream.take("{")
        matchers, closing = _parse_matchers(stream)
        return VectorSelector("", matchers, NO_MODIFIERS, None, opening.start, closing.end)
    name = stream.take(stream.kind)
    matchers, closing = (), name
    if stream.kind == "{":
        stream.take("{")
        matchers, closing = _parse_matchers(stream)
    matchers = (*matchers, Matcher.equal(METRIC_NAME, name.text))
    return VectorSelector(name.text, matchers, NO_MODIFIERS, None, name.start, closing.end)


def _parse_matchers(stream: TokenStream) -> tuple[tuple[Matcher, ...], Token]:
    """The matchers behind an opening brace, and the closing one."""
    matchers: list[Matcher] = []
    while stream.kind != "}":
        matchers.append(_parse_matcher(stream))
        if stream.kind == ",":
            stream.take(",")
        elif stream.kind != "}":
            raise stream.unexpected(_CONTEXT, '"," or "}"')
    return tuple(matchers), stream.take("}")


def _parse_matcher(stream: TokenStream) -> Matcher:
    if stream.kind not in (IDENTIFIER, STRING):
        raise stream.unexpected(_CONTEXT, 'identifier or "}"')
    label = stream.take(IDENTIFIER, STRING)
    name = unquote(label.text) if label.kind == STRING else label.text
    if stream.kind not in _MATCH_OPERATORS:
        if label.kind == STRING:
            return Matcher.equal(METRIC_NAME, name)
        raise stream.unexpected(_CONTEXT, "label matching operator")
    match_type = _MATCH_OPERATORS[stream.take(stream.kind).kind]
    if stream.kind != STRING:
        raise stream.unexpected(_CONTEXT, "string")
    value = unquote(stream.take(STRING).text)
    if match_type in (MatchType.REGEX, MatchType.NOT_REGEX):
        value = as_utf8(value)
    try:
        return Matcher(name, match_type, value)
    except MatcherError as error:
        message = str(error)
        raise stream.error(label.start, message[message.index("error parsing regexp") :]) from None
