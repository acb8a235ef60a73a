"""PromQL: parsed, planned, and evaluated as whole matrices over the Store protocol.

from promql import Engine
Engine(store).instant("sum by (job) (up)", at_ms)
Engine(store).range("rate(x_total[5m])", start_ms, end_ms, step_ms)
"""

from promql.engine import Engine, EngineOptions
from promql.errors import (
    ExecutionError,
    ParseError,
    PromQLError,
    QueryCanceledError,
    QueryTimeoutError,
    TooManySamplesError,
)
from promql.result import Matrix, RangeVector, Result, Scalar, String, Value, Vector

__all__ = [
    "Engine",
    "EngineOptions",
    "ExecutionError",
    "Matrix",
    "ParseError",
    "PromQLError",
    "QueryCanceledError",
    "QueryTimeoutError",
    "RangeVector",
    "Result",
    "Scalar",
    "String",
    "TooManySamplesError",
    "Value",
    "Vector",
]
