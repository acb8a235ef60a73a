"""How sources write label names, addresses and lists."""

import re
from collections.abc import Iterable, Mapping

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


def label_name(text: str) -> str:
    """Text made a label name (prometheus strutil.SanitizeLabelName)."""
    return _NOT_IN_NAMES.sub("_", text)


def prefixed(prefix: str, values: Mapping[str, str] | None) -> dict[str, str]:
    """Each value under `prefix` and its key, made a label name."""
    return {prefix + label_name(key): value for key, value in (values or {}).items()}


def host_port(host: str, port: int | str) -> str:
    """`host:port`, an IPv6 address in brackets (Go's net.JoinHostPort)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listed(values: Iterable[str], separator: str = ",") -> str:
    """The values with the separator between and around them, so that a regex need not care for positions."""
    return separator + separator.join(values) + separator


def flag(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"
