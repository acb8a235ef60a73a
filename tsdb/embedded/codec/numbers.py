"""Floats as integers and back, bit for bit.

Most floats that exporters serve were made from an integer by one of few formulas: bytes and events as they are,
hundredths of a second by division, milliseconds multiplied by 0.001. The integers compress far better. A formula is
used for a series only where it gives every value back to the bit; other series keep their bit patterns.
"""

import numpy as np

from tsdb.model import BoolArray, FloatArray, IntArray

BIT_PATTERN = 0
"""The formula of a series whose integers are the bit patterns of its values."""

_MOST_DIGITS = 12
# value = integer / by / again * times, as (by, again, times); what a formula is known by in files is its place here,
# so new ones go to the end. The literals are read from text because powers may differ in the last bit.
_FORMULAS = [
    (1.0, 1.0, 1.0),
    (1.0, 1.0, 1.0),
    *((float(f"1e{digits}"), 1.0, 1.0) for digits in range(1, _MOST_DIGITS + 1)),
    *((1.0, 1.0, float(f"1e-{digits}")) for digits in range(1, _MOST_DIGITS + 1)),
    # node_exporter's pressure stall times: microseconds, divided twice.
    (1e3, 1e3, 1.0),
]
_BY, _AGAIN, _TIMES = (np.array(column) for column in zip(*_FORMULAS, strict=True))
# Few digits first: they make the smaller integers.
_TRIED = sorted(range(1, len(_FORMULAS)), key=lambda formula: _BY[formula] * _AGAIN[formula] / _TIMES[formula])

_INT64_END = 2.0**63
# How many values of a row are looked at before the whole row is.
_PROBES = 8


def to_integers(values: FloatArray) -> tuple[IntArray, IntArray]:
    """int64[S, T] and the formula of each row, int64[S], of finite values float64[S, T] without -0.0."""
    integers = values.view(np.int64).copy()
    formulas = np.full(len(values), BIT_PATTERN)
    probes = values[:, :: max(1, values.shape[1] // _PROBES)]
    left = np.arange(len(values))
    for formula in _TRIED:
        likely = left[_invert(probes[left], formula)[1]]
        if len(likely):
            found, exact = _invert(values[likely], formula)
            integers[likely[exact]] = found[exact]
            formulas[likely[exact]] = formula
            left = left[formulas[left] == BIT_PATTERN]
        if not len(left):
            break
    return integers, formulas


def to_floats(integers: IntArray, formulas: IntArray) -> FloatArray:
    """The values of `to_integers`, float64[S, T]."""
    values = _apply(integers, formulas[:, None])
    patterns = np.flatnonzero(formulas == BIT_PATTERN)
    if len(patterns):
        values[patterns] = integers[patterns].view(np.float64)
    return values


def _invert(values: FloatArray, formula: int) -> tuple[IntArray, BoolArray]:
    """Integers for values, and which rows they give back to the bit."""
    with np.errstate(over="ignore"):
        scaled = np.rint(values * (_BY[formula] * _AGAIN[formula] / _TIMES[formula]))
    fits = np.abs(scaled) < _INT64_END
    integers = np.where(fits, scaled, 0).astype(np.int64)
    back = _apply(integers, np.array([[formula]]))
    return integers, (back.view(np.int64) == values.view(np.int64)).all(axis=1)


def _apply(integers: IntArray, formulas: IntArray) -> FloatArray:
    """float64[S, T] by formulas int64[S, 1] or int64[1, 1]."""
    values = integers.astype(np.float64)
    for operation, factors in ((np.divide, _BY), (np.divide, _AGAIN), (np.multiply, _TIMES)):
        chosen = factors[formulas]
        if (chosen != 1).any():
            operation(values, chosen, out=values)
    return values
