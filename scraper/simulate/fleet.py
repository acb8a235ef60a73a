"""The simulated fleet: N servers over a handful of machine models, their bodies and their file_sd targets.

A body is a pure function of seed, server and time. Servers of one model differ by a shift of its clock, so that
setting up a thousand servers costs no more than the models.
"""

from dataclasses import dataclass
from random import Random

from scraper.simulate.curves import DAY_S
from scraper.simulate.families import machine_series
from scraper.simulate.machine import Machine

MIN_SERIES = 10
_MODELS = 16
_HEAD = """\
# HELP node_uname_info Labeled system information as provided by the uname system call.
# TYPE node_uname_info gauge
node_uname_info{{domainname="(none)",machine="x86_64",nodename="{name}",release="6.12.0",sysname="Linux",version="1"}} 1
# HELP node_boot_time_seconds Node boot time, in unixtime.
# TYPE node_boot_time_seconds gauge
node_boot_time_seconds {boot_s:.0f}
# HELP node_time_seconds System time in seconds since epoch (1970).
# TYPE node_time_seconds gauge
node_time_seconds {time_s:.3f}
"""
_HEAD_SAMPLES = 3
_REBOOT_EVERY_S = 45 * DAY_S
_GENERATION_S = 60.0


@dataclass(frozen=True, slots=True)
class _Server:
    """One server: its machine model, how far its curves are shifted, when in 45 days it boots."""

    name: str
    machine: Machine
    shift_s: float
    boot_shift_s: float

    def body(self, time_s: float) -> str:
        """What it exposes at a time."""
        boot_s = (time_s - self.boot_shift_s) // _REBOOT_EVERY_S * _REBOOT_EVERY_S + self.boot_shift_s
        generation = int((time_s + self.shift_s) // _GENERATION_S)
        head = _HEAD.format(name=self.name, boot_s=boot_s, time_s=time_s)
        return head + self.machine.render(time_s + self.shift_s, boot_s + self.shift_s, generation)


class SimulatedFleet:
    """`servers` servers of exactly `series` samples each, at least MIN_SERIES.

    `churn` is the share of series, up to all but three, whose labels change every minute. `seed` makes a fleet
    differ from others.
    """

    def __init__(self, servers: int, series: int, churn: float = 0.0, seed: int = 0) -> None:
        own = series - _HEAD_SAMPLES
        pods = min(round(churn * series), own)
        machines = [
            Machine(machine_series(Random(f"{seed} model {number}"), own - pods, pods))
            for number in range(min(_MODELS, servers))
        ]
        width = max(4, len(str(servers)))
        self._servers: dict[str, _Server] = {}
        for number in range(servers):
            name = f"server-{number + 1:0{width}d}"
            random = Random(f"{seed} {name}")
            shift_s, boot_shift_s = random.uniform(0, DAY_S / 8), float(random.randrange(int(_REBOOT_EVERY_S)))
            self._servers[name] = _Server(name, machines[number % len(machines)], shift_s, boot_shift_s)

    @property
    def names(self) -> list[str]:
        """The servers: `server-0001`, ..."""
        return list(self._servers)

    def body(self, name: str, time_s: float) -> str | None:
        """What a server exposes at a Unix time, in the text format 0.0.4; None where there is no such server."""
        server = self._servers.get(name)
        return None if server is None else server.body(time_s)

    def target_groups(self, address: str) -> list[dict[str, list[str] | dict[str, str]]]:
        """The content of a file_sd file: a group for each server, all at one `host:port`."""
        return [
            {"targets": [address], "labels": {"__metrics_path__": f"/{name}/metrics", "instance": f"{name}:9100"}}
            for name in self._servers
        ]
