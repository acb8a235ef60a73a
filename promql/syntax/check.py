"""Whether the types of an expression fit together; the first misfit in the order of prometheus parser.checkAST."""

from common.labels import METRIC_NAME
from promql.nodes import Cardinality, ValueType
from promql.syntax.literals import quote
from promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
    children,
)
from promql.syntax.signatures import TYPE_NAMES, Signature
from promql.syntax.stream import TokenStream
from promql.syntax.tokens import COMPARISONS, SET_OPERATORS

# As deep as the recursion of the evaluator may go: chains of operators are deep without being nested.
MAX_DEPTH = 200

_OPERANDS = (ValueType.SCALAR, ValueType.VECTOR)
_ONE_SIDED = (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)


def check(expr: Expr, stream: TokenStream) -> None:
    """Raises ParseError where types do not fit, and for trees too deep to be evaluated."""
    depth, level = 0, [expr]
    while level:
        depth += 1
        check_depth(depth, level[0], stream)
        level = [child for node in level for child in children(node)]
    _Check(stream).node(expr)


def check_depth(depth: int, node: Expr, stream: TokenStream) -> None:
    """Raises ParseError where a node is at a depth where none may be."""
    if depth > MAX_DEPTH:
        raise stream.error(node.start, f"expression is more than {MAX_DEPTH} levels deep")


class _Check:
    def __init__(self, stream: TokenStream) -> None:
        self._stream = stream

    def node(self, node: Expr) -> ValueType:
        """The type of a node whose parts fit."""
        match node:
            case VectorSelector():
                self._vector_selector(node)
            case MatrixSelector():
                self._vector_selector(node.selector)
            case Subquery():
                type_ = self.node(node.expr)
                if type_ is not ValueType.VECTOR:
                    self._fail(node, f"subquery is only allowed on instant vector, got {TYPE_NAMES[type_]} instead")
            case Call():
                self._call(node)
            case Aggregation():
                self._aggregation(node)
            case Binary():
                self._binary(node)
            case Unary():
                type_ = self.node(node.expr)
                if type_ not in _OPERANDS:
                    only = "unary expression only allowed on expressions of type scalar or instant vector"
                    self._fail(node, f"{only}, got {quote(type_.value)}")
            case Paren():
                self.node(node.expr)
        return node.type

    def _fail(self, node: Expr, message: str) -> None:
        raise self._stream.error(node.start, message)

    def _expect(self, node: Expr, wanted: ValueType, context: str) -> None:
        type_ = self.node(node)
        if type_ is not wanted:
            self._fail(node, f"expected type {wanted.value} in {context}, got {type_.value}")

    def _vector_selector(self, node: VectorSelector) -> None:
        if node.name:
            for matcher in node.matchers[:-1]:
                if matcher.name == METRIC_NAME:
                    names = f"{quote(node.name)} or {quote(matcher.value)}"
                    self._fail(node, f"metric name must not be set twice: {names}")
        elif all(matcher.matches_empty for matcher in node.matchers):
            self._fail(node, "vector selector must contain at least one non-empty matcher")

    def _aggregation(self, node: Aggregation) -> None:
        self._expect(node.expr, ValueType.VECTOR, "aggregation expression")
        if node.param is not None:
            wanted = ValueType.STRING if node.op == "count_values" else ValueType.SCALAR
            self._expect(node.param, wanted, "aggregation parameter")

    def _call(self, node: Call) -> None:
        function = node.function
        if message := _wrong_number_of_args(function, len(node.args)):
            self._fail(node, message)
        selector = node.args[1] if function.name == "info" and len(node.args) > 1 else None
        for arg, wanted in zip(node.args, _arg_types(function, len(node.args)), strict=True):
            if arg is selector:
                self._info_selector(node, arg)
            else:
                self._expect(arg, wanted, f"call to function {quote(function.name)}")

    def _info_selector(self, call: Call, node: Expr) -> None:
        """The second argument of info() selects labels, maybe none."""
        if node.type is not ValueType.VECTOR:
            self._fail(call, f'expected type instant vector in call to function "info", got {node.type.value}')
        if not isinstance(node, VectorSelector):
            self._fail(node, "expected label selectors only")
        elif node.name:
            self._fail(node, "expected label selectors only, got vector selector instead")

    def _binary(self, node: Binary) -> None:
        types = self.node(node.lhs), self.node(node.rhs)
        matching = node.matching
        if node.return_bool and node.op not in COMPARISONS:
            self._fail_at_operator(node, "bool modifier can only be used on comparison operators")
        if node.op in COMPARISONS and not node.return_bool and node.type is ValueType.SCALAR:
            self._fail_at_operator(node, "comparisons between scalars must use BOOL modifier")
        both = [label for label in matching.labels if matching.on and label in matching.include]
        if both:
            self._fail_at_operator(node, f"label {quote(both[0])} must not occur in ON and GROUP clause at once")
        for side, type_ in zip((node.lhs, node.rhs), types, strict=True):
            if type_ not in _OPERANDS:
                self._fail(side, "binary expression must contain only scalar and instant vector types")
        self._matching(node)

    def _matching(self, node: Binary) -> None:
        matching, is_set = node.matching, node.op in SET_OPERATORS
        is_filled = matching.fill_lhs is not None or matching.fill_rhs is not None
        if not node.matches_vectors:
            if matching.labels:
                self._fail(node, "vector matching only allowed between instant vectors")
            if is_filled:
                self._fail(node, "filling in missing series only allowed between instant vectors")
            if is_set:
                self._fail(node, f"set operator {quote(node.op)} not allowed in binary scalar expression")
        elif is_set:
            if matching.cardinality in _ONE_SIDED:
                self._fail(node, f"no grouping allowed for {quote(node.op)} operation")
            if is_filled:
                self._fail(node, "filling in missing series not allowed for set operators")

    def _fail_at_operator(self, node: Binary, message: str) -> None:
        source, position = self._stream.source, node.lhs.end
        while source[position] in " \t\n\r":
            position += 1
        raise self._stream.error(position, message)


def _wrong_number_of_args(function: Signature, count: int) -> str | None:
    wanted, variadic, called = len(function.args), function.variadic, f"in call to {quote(function.name)}, got {count}"
    if not variadic:
        return None if count == wanted else f"expected {wanted} argument(s) {called}"
    if count < wanted - 1:
        return f"expected at least {wanted - 1} argument(s) {called}"
    if variadic > 0 and count > wanted - 1 + variadic:
        return f"expected at most {wanted - 1 + variadic} argument(s) {called}"
    return None


def _arg_types(function: Signature, count: int) -> list[ValueType]:
    return [function.args[min(index, len(function.args) - 1)] for index in range(count)]
