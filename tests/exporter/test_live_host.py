"""Fleetwatch's exporter and node_exporter on this host at the same moment: the same series, and values that agree."""

import asyncio

from aiohttp.test_utils import TestServer

from common.labels import Labels
from exporter.app import create_app
from exporter.collectors.diskstats import EXCLUDED_DEVICES
from exporter.collectors.filesystem import EXCLUDED_MOUNT_POINTS, EXCLUDED_TYPES
from exporter.filters import Filter
from exposition.text import parse_text
from tests.exporter.comparison import host_metrics, is_between, only_labels_of
from tests.exporter.node_exporter import fetch, node_exporter, node_exporter_version

WANTED_SHARE = 0.98
_LEFT_OUT = [
    ("mountpoint", Filter(exclude=EXCLUDED_MOUNT_POINTS)),
    ("fstype", Filter(exclude=EXCLUDED_TYPES)),
    ("device", Filter(exclude=EXCLUDED_DEVICES)),
]


async def test_same_series_and_values_as_node_exporter() -> None:
    """Both with their defaults; node_exporter is read before and after, and ours must lie between the two."""
    with node_exporter("--no-collector.systemd") as url:
        async with TestServer(create_app()) as server:
            before, _ = await asyncio.to_thread(fetch, url)
            body, _ = await asyncio.to_thread(fetch, str(server.make_url("/metrics")))
            after, _ = await asyncio.to_thread(fetch, url)
    earlier, later = parse_text(before), parse_text(after)
    lower, upper = host_metrics(earlier), host_metrics(later)
    keys = [key for key in lower if key in upper]
    ours = host_metrics(parse_text(body))
    if node_exporter_version() < (1, 11):
        # Older ones have fewer labels, and mounts and disks that are left out by default since.
        ours = host_metrics(only_labels_of(earlier, parse_text(body)))
        keys = [key for key in keys if not is_left_out(key[1])]
    missing = [key for key in keys if key not in ours]
    share = 1 - len(missing) / len(keys)
    print(f"{share:.2%} of {len(keys)} series; missing: {missing}")  # noqa: T201 (shown where the test fails)

    assert len(keys) > 300
    assert share >= WANTED_SHARE
    for key in keys:
        assert key in missing or is_between(ours[key], lower, upper, key), (key, lower[key], ours[key], upper[key])


def is_left_out(labels: Labels) -> bool:
    """Mounts and disks that node_exporter 1.5 has by default and 1.9 has not."""
    return any(not reported.allows(labels.get(name)) for name, reported in _LEFT_OUT)
