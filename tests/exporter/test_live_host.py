"""Fleetwatch's exporter and node_exporter on this host at the same moment: the same series, and values that agree."""

import asyncio

from aiohttp.test_utils import TestServer

from common.labels import Labels
from exporter.app import create_app
from exporter.catalog import COLLECTORS
from exporter.collectors.diskstats import EXCLUDED_DEVICES
from exporter.collectors.filesystem import EXCLUDED_MOUNT_POINTS, EXCLUDED_TYPES
from exposition.text import parse_text
from tests.exporter.comparison import host_metrics, is_between, only_labels_of
from tests.exporter.node_exporter import fetch, node_exporter


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
        assert is_between(ours[key], lower, upper, key), key


def is_left_out(labels: Labels) -> bool:
    """Mounts and disks that node_exporter 1.5 has by default and 1.9 has not."""
    exclusions = [("mountpoint", EXCLUDED_MOUNT_POINTS), ("fstype", EXCLUDED_TYPES), ("device", EXCLUDED_DEVICES)]
    return any(excluded.search(labels.get(name)) for name, excluded in exclusions)
