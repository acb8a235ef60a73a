"""What the kernel counts of IP, TCP, UDP and ICMP (/proc/net/netstat, snmp and snmp6, proc_net(5))."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter.filters import Filter, shipped
from exporter.roots import Roots, read_text
from exposition.writer import Family

_FIELDS = shipped(
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
"""node_exporter's default for --collector.netstat.fields."""


class NetstatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the netstat collector. `fields` is matched against `Tcp_InSegs` and the like."""

    fields: str = _FIELDS


@dataclass(frozen=True, slots=True)
class _Layout:
    """A line of names: how many there are, and the columns that are reported with their metrics' names and help."""

    width: int
    columns: list[tuple[int, str, str]]


class NetstatCollector:
    """`node_netstat_*`.

    Some 40 of 400 numbers are reported. Which columns those are is worked out once for each line of names, and the
    others are never converted.
    """

    def __init__(self, roots: Roots, options: NetstatOptions) -> None:
        self._files = [roots.procfs / "net/netstat", roots.procfs / "net/snmp"]
        self._snmp6 = roots.procfs / "net/snmp6"
        self._fields = Filter(options.fields)
        self._layouts: dict[str, _Layout] = {}
        self._snmp6_metrics: dict[str, tuple[str, str] | None] = {}

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. Without IPv6 there is no snmp6; that is no error."""
        for path in self._files:
            yield from self._pairs_of_lines(path)
        try:
            text = read_text(self._snmp6)
        except FileNotFoundError:
            return
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                name, value = line.split()
                metric = self._snmp6_metrics[name] if name in self._snmp6_metrics else self._learn(name)
                if metric is not None:
                    yield Family.single(metric[0], "unknown", metric[1], int(value))
            except ValueError as error:
                raise ValueError(f"{self._snmp6}, line {number}: not a name and a number: {line!r}") from error

    def _pairs_of_lines(self, path: Path) -> Iterator[Family]:
        """A file with a line of names before each line of numbers; both start with the protocol."""
        lines = read_text(path).splitlines()
        for number in range(0, len(lines), 2):
            names, *rest = lines[number : number + 2]
            layout = self._layouts.get(names) or self._layout(names)
            values = rest[0].split(" ") if rest else []
            if len(values) != layout.width or not names.startswith(values[0]):
                raise ValueError(f"{path}, line {number + 2}: not one number for each name of the line before")
            for column, name, text in layout.columns:
                try:
                    value = int(values[column])
                except ValueError as error:
                    raise ValueError(f"{path}, line {number + 2}, column {column + 1}: {error}") from error
                yield Family.single(name, "unknown", text, value)

    def _layout(self, line: str) -> _Layout:
        protocol, *names = line.split(" ")
        metrics = [(column, self._metric(protocol.rstrip(":"), name)) for column, name in enumerate(names, start=1)]
        layout = _Layout(len(names) + 1, [(column, *metric) for column, metric in metrics if metric is not None])
        self._layouts[line] = layout
        return layout

    def _learn(self, name: str) -> tuple[str, str] | None:
        """The metric of a line of snmp6: `Icmp6InMsgs` is InMsgs of Icmp6."""
        protocol, digit, statistic = name.partition("6")
        metric = self._metric(f"{protocol}6", statistic) if digit else None
        self._snmp6_metrics[name] = metric
        return metric

    def _metric(self, protocol: str, statistic: str) -> tuple[str, str] | None:
        """Name and help, if the field is reported."""
        field = f"{protocol}_{statistic}"
        if not self._fields.allows(field):
            return None
        return f"node_netstat_{field}", f"Statistic {protocol}{statistic}."
