"""Random PromQL, as trees of texts that can be shrunk.

What jumps where its argument moves by a rounding (comparisons, floor, topk, ...) is only given arguments whose
values are exact: made of samples that are multiples of 1/8 and of operations that do not round.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["vector", "scalar", "matrix", "option"]
"""An option is a text that may be left out."""


@dataclass(frozen=True, slots=True)
class Expr:
    """A piece of an expression: texts and smaller pieces."""

    kind: Kind
    parts: tuple["str | Expr", ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    @property
    def pieces(self) -> Iterator["Expr"]:
        """All pieces below this one, the larger first."""
        for part in self.parts:
            if isinstance(part, Expr):
                yield part
                yield from part.pieces


_LEAVES = {"vector": "level", "scalar": "1", "matrix": "level[1m]", "option": ""}


def smaller(expr: Expr, root: bool = True) -> Iterator[Expr]:
    """What an expression may shrink to, the smallest first."""
    leaf = Expr(expr.kind, (_LEAVES[expr.kind],))
    if str(leaf) != str(expr) and (not root or expr.kind == "vector"):
        yield leaf
    kinds = ("vector", "scalar") if root else (expr.kind,)
    yield from sorted((piece for piece in expr.pieces if piece.kind in kinds), key=lambda piece: len(str(piece)))
    for index, part in enumerate(expr.parts):
        if isinstance(part, Expr):
            for less in smaller(part, root=False):
                yield replace(expr, parts=(*expr.parts[:index], less, *expr.parts[index + 1 :]))


METRICS: tuple[str, ...] = (
    "requests_total",
    "level",
    "level",
    "up",
    "latency_count",
    "latency_bucket",
    "target_info",
    "temperature",
)
MATCHERS: tuple[str, ...] = (
    'job="a"',
    'job!="a"',
    'job=~"a|b"',
    'job=~".+"',
    'instance!~"[12]"',
    'code=""',
    'nope=""',
    'nope=~".*"',
)
MATCHERS += ('code=~"4..|5.."', 'kind!=""', 'kind=""', 'nope="x"', 'instance=~"0"', 'le=~"0.*|.Inf"')
DURATIONS = ("30s", "45s", "1m", "90s", "2m30s", "5m", "17s500ms", "61")
LABELS = ("job", "instance", "code", "kind", "le", "version", "nope", "__name__")
NUMBERS = ("0", "1", "2", "-1", "0.5", "3", "8", "-2.25", "1e3", "Inf", "-Inf", "NaN", "0x1f", "1m")
EXACT_NUMBERS = ("0", "1", "2", "-1", "0.5", "3", "8", "-2.25", "NaN", "Inf")
JOIN_LABELS = ("job, instance", "job", "instance, job, code", "", "instance")

EXACT_OF_RANGE: tuple[str, ...] = (
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "count_over_time",
    "present_over_time",
)
EXACT_OF_RANGE += ("changes", "resets", "sum_over_time", "idelta")
OF_RANGE: tuple[str, ...] = (
    *EXACT_OF_RANGE,
    "rate",
    "increase",
    "delta",
    "irate",
    "deriv",
    "avg_over_time",
    "stddev_over_time",
)
OF_RANGE += ("stdvar_over_time", "rate", "increase", "absent_over_time", "ts_of_max_over_time", "ts_of_min_over_time")
OF_RANGE += ("ts_of_last_over_time",)
JUMPS_OF_RANGE = ("changes", "resets", "ts_of_max_over_time", "ts_of_min_over_time", "rate", "increase", "irate")
EXACT_OF_VECTOR = ("abs", "sgn", "-", "+", "timestamp")
OF_VECTOR: tuple[str, ...] = (
    *EXACT_OF_VECTOR,
    "sqrt",
    "exp",
    "ln",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
)
OF_VECTOR += ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad", "absent")
JUMPS: tuple[str, ...] = (
    "ceil",
    "floor",
    "round",
    "hour",
    "minute",
    "month",
    "year",
    "day_of_week",
    "day_of_month",
    "day_of_year",
)
JUMPS += ("days_in_month", "sort", "sort_desc")


class Generator:
    """Expressions from a source of random numbers."""

    def __init__(self, random: random.Random) -> None:
        self._random = random

    def expression(self) -> Expr:
        """A vector, a scalar or a range, nested to depth 4."""
        kind = self._random.random()
        if kind < 0.06:
            return self.scalar(3)
        return self.matrix(2) if kind < 0.08 else self.vector(self._random.choice([1, 2, 3, 4, 4]))

    def vector(self, depth: int, exact: bool = False) -> Expr:
        """An instant vector."""
        if depth <= 0 or self._random.random() < 0.08:
            return self._selector(exact)
        makers = [self._of_range] * 5 + [self._aggregation] * 4 + [self._between] * 4 + [self._of_vector] * 2
        makers += [self._jump, self._jump, self._comparison, self._comparison, self._set, self._relabelled]
        makers += [self._with_number, self._histogram, self._ranked, self._of_scalar, self._clamp]
        return self._random.choice(makers)(depth, exact)

    def scalar(self, depth: int, exact: bool = False) -> Expr:
        """A scalar."""
        choice = self._random.random()
        if depth <= 0 or choice < 0.5:
            return Expr("scalar", (self._random.choice(EXACT_NUMBERS if exact else NUMBERS),))
        if choice < 0.7:
            return Expr("scalar", ("scalar(", self.vector(depth - 1, exact), ")"))
        if choice < 0.8:
            return Expr("scalar", ("time()",))
        if choice < 0.83 and not exact:
            return Expr("scalar", ("pi()",))
        op = self._random.choice("+-*" if exact else ["+", "-", "*", "/", "^", "%", "atan2", "== bool", "> bool"])
        return Expr(
            "scalar",
            ("(", self.scalar(depth - 1, exact or "bool" in op), f" {op} ", self.scalar(0, exact or "bool" in op), ")"),
        )

    def matrix(self, depth: int, exact: bool = False) -> Expr:
        """A range vector."""
        length = self._random.choice(DURATIONS)
        if self._random.random() < 0.04:
            length = self._random.choice(["1m + 30s", "2m * 1.5", "(1m)", "3m / 2", "5m - 1m", "2 ^ 6"])
        if depth > 0 and self._random.random() < 0.3:
            step = self._random.choice(["", "10s", "15s", "37s", "1m"])
            inner = self.vector(depth - 1, exact)
            return Expr("matrix", ("(", inner, f")[{length}:{step}]", self._modifiers()))
        return Expr("matrix", (self._metric(exact), f"[{length}]", self._modifiers()))

    def _metric(self, exact: bool) -> str:
        name = self._random.choice(METRICS[:-1] if exact else METRICS)
        matchers = self._random.sample(MATCHERS, self._random.choice([0, 0, 0, 1, 1, 2]))
        kind = self._random.random()
        if kind < 0.04:
            return f'{{__name__=~"{name}|up"{"".join(f", {m}" for m in matchers)}}}'
        if kind < 0.07:
            return f'{{"{name}"{"".join(f", {m}" for m in matchers)}}}'
        return name + (f"{{{', '.join(matchers)}}}" if matchers else "")

    def _selector(self, exact: bool) -> Expr:
        return Expr("vector", (self._metric(exact), self._modifiers()))

    def _modifiers(self) -> Expr:
        kind = self._random.random()
        if kind > 0.3:
            return Expr("option", ("",))
        offset = self._random.choice(["30s", "-45s", "1m15s", "5m", "-2m", "7", "0s"])
        at = self._random.choice(["start()", "end()", "600", "0", "1234.567", "-60", "1e3"])
        both = [f" offset {offset}", f" @ {at}"]
        self._random.shuffle(both)
        return Expr("option", ("".join(both[: 2 if kind < 0.06 else 1]),))

    def _of_range(self, depth: int, exact: bool) -> Expr:
        name = self._random.choice(EXACT_OF_RANGE if exact else OF_RANGE)
        matrix = self.matrix(depth - 1, exact or name in JUMPS_OF_RANGE)
        if exact or self._random.random() < 0.85:
            return Expr("vector", (f"{name}(", matrix, ")"))
        name = self._random.choice(["quantile_over_time", "predict_linear", "double_exponential_smoothing"])
        if name == "quantile_over_time":
            quantile = self._random.choice(["0.5", "0.9", "0", "1", "2", "-1", "NaN"])
            return Expr("vector", (f"{name}({quantile}, ", matrix, ")"))
        if name == "predict_linear":
            return Expr("vector", (f"{name}(", matrix, ", ", self.scalar(1), ")"))
        factors = self._random.choice(["0.5, 0.1", "0.3, 0.9", "1.5, 0.5"])
        return Expr("vector", (f"{name}(", matrix, f", {factors})"))

    def _of_vector(self, depth: int, exact: bool) -> Expr:
        name = self._random.choice(EXACT_OF_VECTOR if exact else OF_VECTOR)
        return Expr("vector", (f"{name}(", self.vector(depth - 1, exact), ")"))

    def _jump(self, depth: int, exact: bool) -> Expr:
        return Expr("vector", (f"{self._random.choice(JUMPS)}(", self.vector(depth - 1, exact=True), ")"))

    def _clamp(self, depth: int, exact: bool) -> Expr:
        kind, vector = self._random.random(), self.vector(depth - 1, exact)
        if kind < 0.3:
            return Expr("vector", ("clamp(", vector, ", ", self.scalar(1, exact), ", ", self.scalar(1, exact), ")"))
        if kind < 0.8:
            name = self._random.choice(["clamp_min", "clamp_max"])
            return Expr("vector", (f"{name}(", vector, ", ", self.scalar(1, exact), ")"))
        return Expr("vector", ("round(", self.vector(depth - 1, exact=True), ", ", self.scalar(0, exact=True), ")"))

    def _of_scalar(self, depth: int, exact: bool) -> Expr:
        return Expr("vector", ("vector(", self.scalar(depth - 1, exact), ")"))

    def _grouping(self) -> str:
        kind = self._random.random()
        labels = ", ".join(self._random.sample(LABELS, self._random.randint(0, 3)))
        return "" if kind < 0.3 else f"{'by' if kind < 0.7 else 'without'} ({labels}) "

    def _aggregation(self, depth: int, exact: bool) -> Expr:
        ops = ["sum", "min", "max", "count", "group"] + (
            [] if exact else ["avg", "avg", "stddev", "stdvar", "quantile"]
        )
        op, grouping = self._random.choice(ops), Expr("option", (self._grouping(),))
        vector = self.vector(depth - 1, exact)
        if op == "quantile":
            return Expr("vector", ("quantile ", grouping, "(", self.scalar(0, exact=True), ", ", vector, ")"))
        return Expr("vector", (f"{op} ", grouping, "(", vector, ")"))

    def _ranked(self, depth: int, exact: bool) -> Expr:
        op = self._random.choice(["topk", "bottomk", "count_values", "limitk", "limit_ratio"])
        param = {"count_values": '"value"', "limit_ratio": self._random.choice(["0.5", "-0.5", "0.3", "1.5"])}
        inner = (
            "temperature"
            if op in ("topk", "bottomk")
            else self._metric(True)
            if op == "limitk"
            else self.vector(depth - 1, exact=True)
        )
        number = param.get(op) or self._random.choice(["1", "2", "3", "0", "-1", "1.9"])
        return Expr("vector", (f"{op} ", Expr("option", (self._grouping(),)), f"({number}, ", inner, ")"))

    def _matching(self, grouped: bool) -> str:
        if self._random.random() < 0.25:
            return ""
        text = f"{self._random.choice(['on', 'on', 'ignoring'])} ({self._random.choice(JOIN_LABELS)}) "
        if grouped and self._random.random() < 0.5:
            included = self._random.choice(["", "()", "(kind)", "(version, region)", "(code)"])
            text += f"{self._random.choice(['group_left', 'group_right'])}{included} "
        return text

    def _operands(self, op: str, depth: int, exact: bool, grouped: bool) -> Expr:
        lhs, rhs = self.vector(depth - 1, exact), self.vector(depth - 1, exact)
        return Expr("vector", ("(", lhs, f" {op} ", Expr("option", (self._matching(grouped),)), rhs, ")"))

    def _between(self, depth: int, exact: bool) -> Expr:
        op = self._random.choice(["+", "-", "*"] if exact else ["+", "-", "*", "/", "/", "atan2", "^"])
        return self._operands(op, depth, exact, grouped=True)

    def _comparison(self, depth: int, exact: bool) -> Expr:
        op = self._random.choice(["==", "!=", ">", "<", ">=", "<="]) + self._random.choice(["", " bool"])
        if self._random.random() < 0.5:
            return self._operands(op, depth, exact=True, grouped=True)
        sides = [self.vector(depth - 1, exact=True), self.scalar(1, exact=True)]
        self._random.shuffle(sides)
        return Expr("vector", ("(", sides[0], f" {op} ", sides[1], ")"))

    def _set(self, depth: int, exact: bool) -> Expr:
        return self._operands(self._random.choice(["and", "or", "unless"]), depth, exact, grouped=False)

    def _with_number(self, depth: int, exact: bool) -> Expr:
        op = self._random.choice(["+", "-", "*"] if exact else ["+", "-", "*", "/", "^", "atan2"])
        sides = [self.vector(depth - 1, exact), self.scalar(1, exact)]
        self._random.shuffle(sides)
        return Expr("vector", ("(", sides[0], f" {op} ", sides[1], ")"))

    # Series without a label are in no defined order: Prometheus's natural comparison of "" is not consistent.
    def _relabelled(self, depth: int, exact: bool) -> Expr:
        vector = self.vector(depth - 1, exact)
        kind = self._random.random()
        if kind < 0.6:
            source, target = self._random.choice(LABELS), self._random.choice(LABELS)
            regex, value = (
                self._random.choice(["(.*)", "(.).*", "a|b", "", ".+"]),
                self._random.choice(["$1", "x$1", "", "${1}y"]),
            )
            return Expr("vector", ("label_replace(", vector, f', "{target}", "{value}", "{source}", "{regex}")'))
        if kind < 0.8:
            sources = "".join(f', "{label}"' for label in self._random.sample(LABELS, self._random.randint(0, 3)))
            return Expr("vector", ("label_join(", vector, f', "{self._random.choice(LABELS)}", "-"{sources})'))
        sources = "".join(f', "{label}"' for label in self._random.sample(("job", "instance"), 1))
        return Expr(
            "vector", (f"{self._random.choice(['sort_by_label', 'sort_by_label_desc'])}(", vector, f"{sources})")
        )

    def _histogram(self, depth: int, exact: bool) -> Expr:
        if exact:
            return self._selector(exact)
        buckets = self._random.choice(
            [
                "latency_bucket",
                "rate(latency_bucket[2m])",
                "sum by (le, job) (latency_bucket)",
                "increase(latency_bucket[5m])",
                "sum by (le) (rate(latency_bucket[1m]))",
                "latency_bucket{le!~'.Inf'}",
            ]
        )
        if self._random.random() < 0.6:
            return Expr("vector", ("histogram_quantile(", self.scalar(0, exact=True), f", {buckets})"))
        bounds = self._random.choice(["0, 0.5", "0.2, 2", "-Inf, 1", "1, 0", "0.5, +Inf", "NaN, 1"])
        return Expr("vector", (f"histogram_fraction({bounds}, {buckets})",))
