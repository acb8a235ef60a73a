"""Numbers in texts, spelled as Go's strconv spells them, since label values and messages carry them."""

import math


def format_fixed(value: float) -> str:
    """The shortest decimal form without an exponent (FormatFloat 'f', -1): count_values makes labels of it."""
    if not math.isfinite(value):
        return _format_special(value)
    digits, exponent = _shortest(value)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if exponent >= len(digits):
        return sign + digits.ljust(exponent, "0")
    if exponent <= 0:
        return f"{sign}0.{'0' * -exponent}{digits}" if digits != "0" else f"{sign}0"
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"


def format_general(value: float) -> str:
    """The shortest form, with an exponent below 1e-4 and from 1e6 (verbs %g and %v): messages have it."""
    if not math.isfinite(value):
        return _format_special(value)
    digits, exponent = _shortest(value)
    if digits == "0" or -4 < exponent <= 6:
        return format_fixed(value)
    sign = "-" if value < 0 else ""
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{exponent - 1:+03d}"


def format_openmetrics(value: float) -> str:
    """As OpenMetrics spells label values of quantiles and buckets: never without a point or an exponent."""
    text = format_general(value)
    return text if not math.isfinite(value) or "." in text or "e" in text else f"{text}.0"


def _format_special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _shortest(value: float) -> tuple[str, int]:
    """The digits d of |value| = 0.d * 10**exponent, the fewest that read back the same."""
    mantissa, _, exponent = f"{abs(value):e}".partition("e") if value == 0 else repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0")))
    stripped = digits.rstrip("0")
    return (stripped or "0", leading + int(exponent or 0) if stripped else 1)
