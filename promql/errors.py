"""What can go wrong with a query.

    PromQLError                    root
    +-- ParseError                 the text is no PromQL, or its types do not fit (HTTP API: bad_data)
    +-- ExecutionError             evaluation failed: many-to-many matching, duplicate label sets (execution)
    |   +-- TooManySamplesError    the query would hold more samples than EngineOptions.max_samples (execution)
    +-- QueryTimeoutError          it took longer than EngineOptions.timeout_s (timeout)
    +-- QueryCanceledError         the caller gave up (canceled)

Messages are Prometheus's where its clients show or match on them.
"""

from common.errors import FleetwatchError


class PromQLError(FleetwatchError):
    """Root of the query errors."""


class ParseError(PromQLError, ValueError):
    """The expression does not parse or type-check; the message starts as Prometheus's does."""


class ExecutionError(PromQLError):
    """The expression is valid, its evaluation over this data is not."""


class TooManySamplesError(ExecutionError):
    """The query would load more samples than allowed."""

    def __init__(self) -> None:
        super().__init__("query processing would load too many samples into memory in query execution")


class QueryTimeoutError(PromQLError):
    """The query ran out of its time."""

    def __init__(self) -> None:
        super().__init__("query timed out in expression evaluation")


class QueryCanceledError(PromQLError):
    """The query was given up by its caller."""

    def __init__(self) -> None:
        super().__init__("query was canceled in expression evaluation")
