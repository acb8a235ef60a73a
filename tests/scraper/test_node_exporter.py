"""A real node_exporter is scraped whole: every series it serves can be queried with equal labels and values."""

import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.labels import METRIC_NAME, Labels
from tests.components import require
from tests.fleetwatch_process import free_port
from tests.scraper.loops import scraping
from tests.scraper.targets import read_series

T1 = 1_700_000_000_000


@pytest.fixture
def node_exporter_body() -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [require("node_exporter"), f"--web.listen-address={address}"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert any("Listening on" in line or "TLS is disabled" in line for line in process.stderr)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as response:
            yield response.read().decode()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def respelled(labels: dict[str, str]) -> dict[str, str]:
    """Prometheus 3 spells quantiles and bucket bounds as floats: `1` becomes `1.0`."""
    return {name: str(float(value)) if name == "quantile" else value for name, value in labels.items()}


async def test_every_series_is_stored_as_it_is_served(node_exporter_body: str) -> None:
    """The oracle is another reader: prometheus-client's. The live body is served again so that it stands still."""
    async with scraping() as target:
        await target.scrape(T1, node_exporter_body)
        await target.scrape(T1 + 1000)
        own = target.loop.target.labels
        expected = {
            Labels.of({METRIC_NAME: sample.name, **respelled(sample.labels), **dict(own)}): sample.value
            for family in text_string_to_metric_families(node_exporter_body)
            for sample in family.samples
        }
        stored = read_series(target.store)
        assert len(expected) > 200
        for labels, value in expected.items():
            expected_samples = [(T1, float(value)), (T1 + 1000, float(value))]
            assert repr(stored[labels]) == repr(expected_samples), labels  # NaN is not equal to itself
        assert len(stored) == len(expected) + 5
        assert target.report("scrape_samples_scraped") == [(T1, len(expected)), (T1 + 1000, len(expected))]
