"""The functions of PromQL and the types of their arguments (prometheus promql/parser/functions.go)."""

from dataclasses import dataclass

from promql.nodes import ValueType

SCALAR, VECTOR, MATRIX, STRING = ValueType.SCALAR, ValueType.VECTOR, ValueType.MATRIX, ValueType.STRING

TYPE_NAMES = {SCALAR: "scalar", VECTOR: "vector", MATRIX: "matrix", STRING: "string"}
"""The types as Prometheus's API names them; the names of ValueType are those of its error texts."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function. Of its arguments the last `variadic` may be missing, and the last may come more often.

    A `variadic` of 1 is one optional argument, of n as many as n times the last one, of -1 any number of them.
    """

    name: str
    args: tuple[ValueType, ...]
    variadic: int
    returns: ValueType


def _table() -> dict[str, Signature]:
    functions: list[Signature] = []

    def add(names: str, *args: ValueType, variadic: int = 0, returns: ValueType = VECTOR) -> None:
        functions.extend(Signature(name, args, variadic, returns) for name in names.split())

    add("abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad", VECTOR)
    add("sgn sin sinh sort sort_desc sqrt tan tanh timestamp", VECTOR)
    add("histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum", VECTOR)
    add("day_of_month day_of_week day_of_year days_in_month hour minute month year", VECTOR, variadic=1)
    add("absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase", MATRIX)
    add("irate last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets", MATRIX)
    add("stddev_over_time stdvar_over_time sum_over_time", MATRIX)
    add("ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time", MATRIX)
    add("predict_linear", MATRIX, SCALAR)
    add("double_exponential_smoothing", MATRIX, SCALAR, SCALAR)
    add("quantile_over_time", SCALAR, MATRIX)
    add("clamp", VECTOR, SCALAR, SCALAR)
    add("clamp_max clamp_min", VECTOR, SCALAR)
    add("round", VECTOR, SCALAR, variadic=1)
    add("histogram_quantile", SCALAR, VECTOR)
    add("histogram_quantiles", VECTOR, STRING, SCALAR, SCALAR, variadic=9)
    add("histogram_fraction", SCALAR, SCALAR, VECTOR)
    add("info", VECTOR, VECTOR, variadic=1)
    add("label_replace", VECTOR, STRING, STRING, STRING, STRING)
    add("label_join", VECTOR, STRING, STRING, STRING, variadic=-1)
    add("sort_by_label sort_by_label_desc", VECTOR, STRING, variadic=-1)
    add("vector", SCALAR)
    add("scalar", VECTOR, returns=SCALAR)
    add("max_of min_of", SCALAR, SCALAR, returns=SCALAR)
    add("end pi range start step time", returns=SCALAR)
    return {function.name: function for function in functions}


FUNCTIONS = _table()
"""By name; the experimental ones are among them."""
