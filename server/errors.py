"""What an API call can fail with, and how Prometheus names and numbers it.

    ApiError                          root; `error_type` and `status` as in Prometheus's web/api/v1 (errorType)
    +-- BadDataError                  bad_data 400: a parameter is missing, malformed or out of range
    +-- NotFoundError                 not_found 404
    +-- ExecutionFailedError          execution 422: a valid query that fails over this data
    +-- TimedOutError                 timeout 503
    +-- CanceledError                 canceled 499: the client went away
    +-- UnavailableError              unavailable 503: the server is starting or stopping
    +-- InternalError                 internal 500

`translate` maps the other rooms' errors; it is the only place that does.
"""

from common.errors import FleetwatchError
from common.matchers import MatcherError
from promql.errors import ParseError, PromQLError, QueryCanceledError, QueryTimeoutError
from tsdb.errors import StoreClosedError, StoreError


class ApiError(FleetwatchError):
    """An error that the API answers with."""

    error_type = "internal"
    status = 500


class BadDataError(ApiError):
    """The request is wrong."""

    error_type = "bad_data"
    status = 400

    @classmethod
    def of_parameter(cls, name: str, reason: object) -> "BadDataError":
        """Prometheus's `invalid parameter "NAME": REASON`."""
        return cls(f'invalid parameter "{name}": {reason}')


class NotFoundError(ApiError):
    """What was asked for does not exist."""

    error_type = "not_found"
    status = 404


class ExecutionFailedError(ApiError):
    """The query is valid, its evaluation failed."""

    error_type = "execution"
    status = 422


class TimedOutError(ApiError):
    """The query took, or waited, too long."""

    error_type = "timeout"
    status = 503


class CanceledError(ApiError):
    """The query was given up."""

    error_type = "canceled"
    status = 499


class UnavailableError(ApiError):
    """The server cannot answer now."""

    error_type = "unavailable"
    status = 503


class InternalError(ApiError):
    """The fault is ours."""


def translate(error: FleetwatchError) -> ApiError:
    """The API's error for any error of Fleetwatch."""
    match error:
        case ApiError():
            return error
        case ParseError():
            return BadDataError.of_parameter("query", error)
        case MatcherError():
            return BadDataError(str(error))
        case QueryTimeoutError():
            return TimedOutError(str(error))
        case QueryCanceledError():
            return CanceledError(str(error))
        case PromQLError():
            return ExecutionFailedError(str(error))
        case StoreClosedError():
            return UnavailableError(str(error))
        case StoreError():
            return InternalError(str(error))
        case _:
            return InternalError(str(error))
