"""Sockets in use, by protocol (/proc/net/sockstat and sockstat6, proc_net(5))."""

import os
from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.roots import Roots
from exposition.writer import Family

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATES = ["inuse", "orphan", "tw", "alloc", "mem", "memory", "mem_bytes"]


class SockstatCollector:
    """`node_sockstat_*`."""

    def __init__(self, roots: Roots) -> None:
        self._files = [roots.procfs / "net/sockstat", roots.procfs / "net/sockstat6"]

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. A kernel without IPv4 or IPv6 lacks the file; that is no error."""
        for path in self._files:
            try:
                lines = parse_lines(path, _protocol)
            except FileNotFoundError:
                continue
            for protocol, states in lines:
                yield from _families(protocol, states)


def _families(protocol: str, states: dict[str, int]) -> Iterator[Family]:
    if protocol == "sockets":
        yield Family.single("node_sockstat_sockets_used", "gauge", "Number of IPv4 sockets in use.", states["used"])
        return
    for state in _STATES:
        if state in states:
            text = f"Number of {protocol} sockets in state {state}."
            yield Family.single(f"node_sockstat_{protocol}_{state}", "gauge", text, states[state])


def _protocol(line: str) -> tuple[str, dict[str, int]]:
    """`TCP: inuse 4 orphan 0 tw 2 alloc 7 mem 3` as the protocol and its states."""
    protocol, colon, pairs = line.partition(":")
    words = pairs.split()
    if not colon or not words or len(words) % 2:
        raise ValueError(f"not a protocol and pairs of state and number: {line!r}")
    states = {state: int(number) for state, number in zip(words[::2], words[1::2], strict=True)}
    if "mem" in states:
        states["mem_bytes"] = states["mem"] * _PAGE_BYTES
    if protocol == "sockets":
        states.setdefault("used", 0)
    else:
        states.setdefault("inuse", 0)
    return protocol, states
