"""Fleetwatch's exporter and node_exporter on this host at the same moment: the same series, and values that agree."""

import asyncio

from aiohttp.test_utils import TestServer

from common.labels import Labels
from exporter.app import create_app
from exporter.collectors.diskstats import EXCLUDED_DEVICES
from exporter.collectors.filesystem import EXCLUDED_MOUNT_POINTS, EXCLUDED_TYPES
from exporter.registry import COLLECTORS
from exposition.text import parse_text
from tests.exporter.comparison import host_metrics, only_labels_of
from tests.exporter.node_exporter import fetch, node_exporter

RELATIVE_SLACK = 0.02
_MEBIBYTE = 2**20
# How far a gauge may stray between three reads on a busy host.
SLACK = {
    "node_memory_": 256 * _MEBIBYTE,
    "node_filesystem_avail_bytes": 256 * _MEBIBYTE,
    "node_filesystem_free_bytes": 256 * _MEBIBYTE,
    "node_filesystem_files_free": 10_000,
    "node_procs_": 50,
    "node_load": 0.5,
    "node_disk_io_now": 100,
}
# The kernel's own sums of CPU time run backwards by a tick now and then.
COUNTER_SLACK = 0.02


async def test_same_series_and_values_as_node_exporter() -> None:
    flags = ["--collector.disable-defaults", *(f"--collector.{name}" for name in COLLECTORS)]
    with node_exporter(*flags) as url:
        async with TestServer(create_app()) as server:
            before, _ = await asyncio.to_thread(fetch, url)
            body, _ = await asyncio.to_thread(fetch, str(server.make_url("/metrics")))
            after, _ = await asyncio.to_thread(fetch, url)
    earlier, later = parse_text(before), parse_text(after)
    ours = host_metrics(only_labels_of(earlier, parse_text(body)))
    lower, upper = host_metrics(earlier), host_metrics(later)
    compared = [key for key in lower if key in upper and not is_left_out(key[1])]

    assert len(compared) > 100
    assert [key for key in compared if key not in ours] == []
    for key in compared:
        name, _, metric_type, _ = key
        low, high = sorted((lower[key], upper[key]))
        slack = COUNTER_SLACK if metric_type == "counter" else slack_of(name, high)
        assert low - slack <= ours[key] <= high + slack, key


def is_left_out(labels: Labels) -> bool:
    """Mounts and disks that node_exporter 1.5 has by default and 1.9 has not."""
    exclusions = [("mountpoint", EXCLUDED_MOUNT_POINTS), ("fstype", EXCLUDED_TYPES), ("device", EXCLUDED_DEVICES)]
    return any(excluded.search(labels.get(name)) for name, excluded in exclusions)


def slack_of(name: str, value: float) -> float:
    absolute = next((slack for prefix, slack in SLACK.items() if name.startswith(prefix)), 0)
    return max(absolute, RELATIVE_SLACK * value)
