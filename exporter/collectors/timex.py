"""How the kernel keeps the clock (adjtimex(2))."""

import os
from collections.abc import Iterator
from typing import Any

from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family

_MICROSECONDS, _NANOSECONDS = 1e6, 1e9
_STA_NANO = 0x2000
"""In `status`: offset and jitter are in nanoseconds and not in microseconds."""
_TIME_ERROR = 5
"""What the call returns for a clock that is not synchronised."""
_SCALED_PPM = 1e6 * 65536
"""Frequencies are in parts per million with 16 bits behind the binary point."""

# struct timex: `i` is an int, `l` a long; C aligns them as ctypes does. The rest is padding.
_FIELDS = (
    "modes:i offset:l freq:l maxerror:l esterror:l status:i constant:l precision:l tolerance:l time_s:l time_us:l"
    " tick:l ppsfreq:l jitter:l shift:i stabil:l jitcnt:l calcnt:l errcnt:l stbcnt:l tai:i"
)
_PADDING_INTS = 11

# Field -> name behind node_timex_, divisor and help.
_GAUGES = {
    "maxerror": ("maxerror_seconds", _MICROSECONDS, "Maximum error in seconds."),
    "esterror": ("estimated_error_seconds", _MICROSECONDS, "Estimated error in seconds."),
    "status": ("status", 1, "Value of the status array bits."),
    "constant": ("loop_time_constant", 1, "Phase-locked loop time constant."),
    "tick": ("tick_seconds", _MICROSECONDS, "Seconds between clock ticks."),
    "ppsfreq": ("pps_frequency_hertz", _SCALED_PPM, "Pulse per second frequency."),
    "shift": ("pps_shift_seconds", 1, "Pulse per second interval duration."),
    "stabil": (
        "pps_stability_hertz",
        _SCALED_PPM,
        "Pulse per second stability, average of recent frequency changes.",
    ),
    "tai": ("tai_offset_seconds", 1, "International Atomic Time (TAI) offset."),
}
_COUNTERS = {
    "jitcnt": ("pps_jitter_total", "Pulse per second count of jitter limit exceeded events."),
    "calcnt": ("pps_calibration_total", "Pulse per second count of calibration intervals."),
    "errcnt": ("pps_error_total", "Pulse per second count of calibration errors."),
    "stbcnt": ("pps_stability_exceeded_total", "Pulse per second count of stability limit exceeded events."),
}


class TimexCollector:
    """`node_timex_*`."""

    def __init__(self, _roots: Roots) -> None:
        # Imported for those alone who collect this: it takes 0.7 MB, and nothing else makes the call from Python.
        import ctypes

        kinds = {"i": ctypes.c_int, "l": ctypes.c_long}
        fields: list[tuple[str, Any]] = [(name, kinds[kind]) for name, kind in (f.split(":") for f in _FIELDS.split())]
        fields.append(("padding", ctypes.c_int * _PADDING_INTS))
        self._timex = type("Timex", (ctypes.Structure,), {"_fields_": fields})
        self._adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        self._errno = ctypes.get_errno
        self._by_reference = ctypes.byref

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        timex: Any = self._timex()  # With modes 0 nothing is set.
        state = self._adjtimex(self._by_reference(timex))
        if state < 0:
            error = os.strerror(self._errno())
            raise NoDataError(f"the clock's state cannot be read here: {error}")
        fraction = _NANOSECONDS if timex.status & _STA_NANO else _MICROSECONDS
        yield _gauge(
            "sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", int(state != _TIME_ERROR)
        )
        offset_help = "Time offset in between local system and reference clock."
        yield _gauge("offset_seconds", offset_help, timex.offset / fraction)
        ratio = 1 + timex.freq / _SCALED_PPM
        yield _gauge("frequency_adjustment_ratio", "Local clock frequency adjustment.", ratio)
        yield _gauge("pps_jitter_seconds", "Pulse per second jitter.", timex.jitter / fraction)
        for field, (name, divisor, text) in _GAUGES.items():
            yield _gauge(name, text, getattr(timex, field) / divisor)
        for field, (name, text) in _COUNTERS.items():
            yield Family.single(f"node_timex_{name}", "counter", text, getattr(timex, field))


def _gauge(name: str, text: str, value: float) -> Family:
    return Family.single(f"node_timex_{name}", "gauge", text, value)
