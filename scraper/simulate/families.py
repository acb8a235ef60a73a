"""What a simulated machine exposes: node_exporter's families for its parts, and pods that come and go.

Names, labels and help texts are those of node_exporter, and of cAdvisor for the pods, so that dashboards and rules
made for them work.
"""

from collections.abc import Iterator
from itertools import chain, count, islice
from random import Random

from scraper.simulate.curves import Vector, constant, wave
from scraper.simulate.machine import GENERATION, Family, Series, labels, total

GIB = 2**30
_CPUS_PER_DEVICE = 2
_SYSTEM_SERIES = 16
"""How many `_memory` and `_load` yield together."""

_CPU = Family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.", 2)
_BUSY = {"user": 0.22, "system": 0.06, "iowait": 0.02, "softirq": 0.008, "steal": 0.004, "nice": 0.002, "irq": 0.0}
_POD_MEMORY = Family("container_memory_working_set_bytes", "gauge", "Current working set in bytes.")


def machine_series(random: Random, node: int, pods: int) -> Iterator[Series]:
    """A machine with `node` series of its own, more devices the more there are, and `pods` that change their name."""
    devices = list(islice(_devices(random), max(node - _SYSTEM_SERIES, 0)))
    busy = [one.level for one in devices if one.family == _CPU and 'mode="idle"' not in one.labels]
    yield from islice(chain(_memory(random), _load(random, total([constant(0), *busy])), devices), node)
    for number in range(pods):
        pod = labels(container="worker", namespace="jobs", pod=f"worker-{number:04d}-{GENERATION}")
        yield Series(_POD_MEMORY, pod, wave(random, random.uniform(0.05, 1.5) * GIB, 0.1, 0.0, 0.3))


def _devices(random: Random) -> Iterator[Series]:
    for number in count():
        for cpu in range(_CPUS_PER_DEVICE * number, _CPUS_PER_DEVICE * (number + 1)):
            yield from _cpu(random, cpu)
        yield from _disk(random, f"nvme{number}n1")
        yield from _network(random, f"eth{number}")
        yield from _filesystem(random, f"/dev/nvme{number}n1p1", "/" if number == 0 else f"/srv/{number}")


def _cpu(random: Random, number: int) -> Iterator[Series]:
    share = random.uniform(0.4, 1.3)
    busy = {mode: wave(random, mean * share) for mode, mean in _BUSY.items()}
    # What is left: the modes of a CPU add up to one second each second.
    for mode, level in {"idle": constant(1) - total(list(busy.values())), **busy}.items():
        yield Series(_CPU, labels(cpu=str(number), mode=mode), level)


def _load(random: Random, busy_cpus: Vector) -> Iterator[Series]:
    for minutes in (1, 5, 15):
        family = Family(f"node_load{minutes}", "gauge", f"{minutes}m load average.", 2)
        yield Series(family, "", busy_cpus + wave(random, 0.1, noise=0.3 / minutes))
    yield Series(
        Family("node_procs_running", "gauge", "Number of processes in runnable state."), "", busy_cpus + constant(1)
    )
    per_second = {
        ("node_context_switches_total", "Total number of context switches."): 9_000.0,
        ("node_intr_total", "Total number of interrupts serviced."): 4_000.0,
        ("node_forks_total", "Total number of forks."): 12.0,
    }
    for (name, help_text), rate in per_second.items():
        yield Series(Family(name, "counter", help_text), "", wave(random, rate * random.uniform(0.5, 2)))


def _memory(random: Random) -> Iterator[Series]:
    total_bytes = random.choice((16, 32, 64, 128)) * GIB
    used = wave(random, 0.35 * total_bytes, 0.2, 0.1, 0.05)
    cached, buffers = wave(random, 0.3 * total_bytes, 0.1, 0.2, 0.05), constant(0.02 * total_bytes)
    free = constant(total_bytes) - used - cached - buffers
    sizes = {
        "MemTotal": constant(total_bytes),
        "MemFree": free,
        "MemAvailable": free + 0.8 * cached,
        "Buffers": buffers,
        "Cached": cached,
        "Slab": 0.1 * cached,
        "Dirty": wave(random, 4e6),
        "SwapTotal": constant(4 * GIB),
        "SwapFree": constant(4 * GIB),
    }
    for field, level in sizes.items():
        family = Family(f"node_memory_{field}_bytes", "gauge", f"Memory information field {field}_bytes.")
        yield Series(family, "", level)


def _disk(random: Random, device: str) -> Iterator[Series]:
    reads, writes = wave(random, random.uniform(5, 200)), wave(random, random.uniform(20, 400))
    rates = (
        ("reads_completed", "The total number of reads completed successfully.", 0, reads),
        ("read_bytes", "The total number of bytes read successfully.", 0, 24_576 * reads),
        ("read_time_seconds", "The total number of seconds spent by all reads.", 3, 0.0004 * reads),
        ("writes_completed", "The total number of writes completed successfully.", 0, writes),
        ("written_bytes", "The total number of bytes written successfully.", 0, 16_384 * writes),
        ("write_time_seconds", "This is the total number of seconds spent by all writes.", 3, 0.0006 * writes),
        ("io_time_seconds", "Total seconds spent doing I/Os.", 3, 0.0003 * (reads + writes)),
        (
            "io_time_weighted_seconds",
            "The weighted # of seconds spent doing I/Os.",
            3,
            0.0004 * reads + 0.0006 * writes,
        ),
    )
    for name, help_text, decimals, rate in rates:
        yield Series(Family(f"node_disk_{name}_total", "counter", help_text, decimals), labels(device=device), rate)


def _network(random: Random, device: str) -> Iterator[Series]:
    for direction in ("receive", "transmit"):
        packets = wave(random, random.uniform(100, 5_000))
        rates = (("bytes", 700 * packets), ("packets", packets), ("drop", 1e-5 * packets), ("errs", constant(0)))
        for name, rate in rates:
            field = f"{direction}_{name}"
            family = Family(f"node_network_{field}_total", "counter", f"Network device statistic {field}.")
            yield Series(family, labels(device=device), rate)
    family = Family("node_network_up", "gauge", "Value is 1 if operstate is 'up', 0 otherwise.")
    yield Series(family, labels(device=device), constant(1))


def _filesystem(random: Random, device: str, mountpoint: str) -> Iterator[Series]:
    size_bytes = random.choice((50, 100, 500, 1000)) * GIB
    files = size_bytes // 16_384
    free = constant(size_bytes) - wave(random, random.uniform(0.2, 0.6) * size_bytes, 0.05, 0.2, 0.02)
    where = labels(device=device, fstype="ext4", mountpoint=mountpoint)
    sizes = (
        ("size_bytes", "Filesystem size in bytes.", constant(size_bytes)),
        ("free_bytes", "Filesystem free space in bytes.", free),
        ("avail_bytes", "Filesystem space available to non-root users in bytes.", free - constant(0.05 * size_bytes)),
        ("files", "Filesystem total file nodes.", constant(files)),
        ("files_free", "Filesystem total free file nodes.", constant(files) - wave(random, 0.1 * files, 0.02, 0.1, 0)),
        ("readonly", "Filesystem read-only status.", constant(0)),
    )
    for name, help_text, level in sizes:
        yield Series(Family(f"node_filesystem_{name}", "gauge", help_text), where, level)
