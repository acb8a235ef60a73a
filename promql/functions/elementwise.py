"""Functions of one sample at a time: mathematics, rounding, clamping and dates.

All take and give float64 arrays of any shape. Dates are UTC; samples are seconds since the epoch.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tsdb.model import FloatArray

Elementwise = Callable[[FloatArray], FloatArray]

_DAY_S = 86_400
_INT64_LIMIT = 2.0**63


def _sign(values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values) | (values == 0), values, np.sign(values))


def round_to(values: FloatArray, nearest: FloatArray | float) -> FloatArray:
    """Rounded to multiples of `nearest`, ties upwards; by the inverse, which is kinder to decimal fractions."""
    inverse = 1.0 / np.asarray(nearest)
    return np.floor(values * inverse + 0.5) / inverse


def _of_date(part: Callable[[npt.NDArray[np.datetime64]], npt.NDArray[np.int64]]) -> Elementwise:
    def apply(values: FloatArray) -> FloatArray:
        # What is no time gives Prometheus the last one an int64 of seconds can tell.
        seconds = np.full(values.shape, np.iinfo(np.int64).max)
        valid = np.abs(values) < _INT64_LIMIT
        seconds[valid] = values[valid].astype(np.int64)
        return part(seconds.astype("datetime64[s]")).astype(np.float64)

    return apply


def _seconds(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    return dates.astype(np.int64)


def _since(dates: npt.NDArray[np.datetime64], unit: str) -> npt.NDArray[np.int64]:
    """Days since the first of the month or year ("M" or "Y")."""
    return _days(dates) - _days(dates.astype(f"datetime64[{unit}]"))


def _days(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Days since the epoch."""
    return dates.astype("datetime64[D]").astype(np.int64)


def _days_in_month(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    months = dates.astype("datetime64[M]")
    next_months = (months.astype(np.int64) + 1).astype("datetime64[M]")
    return _days(next_months) - _days(months)


MATHEMATICS: dict[str, Elementwise] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda values: values * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda values: values * np.pi / 180,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}

DATES: dict[str, Elementwise] = {
    "day_of_month": _of_date(lambda dates: _since(dates, "M") + 1),
    # The epoch was a Thursday; Sunday is 0.
    "day_of_week": _of_date(lambda dates: (_seconds(dates) // _DAY_S + 4) % 7),
    "day_of_year": _of_date(lambda dates: _since(dates, "Y") + 1),
    "days_in_month": _of_date(_days_in_month),
    "hour": _of_date(lambda dates: _seconds(dates) % _DAY_S // 3600),
    "minute": _of_date(lambda dates: _seconds(dates) % 3600 // 60),
    "month": _of_date(lambda dates: dates.astype("datetime64[M]").astype(np.int64) % 12 + 1),
    "year": _of_date(lambda dates: dates.astype("datetime64[Y]").astype(np.int64) + 1970),
}
