"""A real node_exporter is scraped whole: every series it serves can be queried with equal labels and values."""

from prometheus_client.parser import text_string_to_metric_families

from common.labels import METRIC_NAME, Labels
from tests.exporter.node_exporter import fetch, node_exporter
from tests.scraper.loops import scraping
from tests.scraper.targets import read_series

T1 = 1_700_000_000_000


def respelled(labels: dict[str, str]) -> dict[str, str]:
    """Prometheus 3 spells quantiles and bucket bounds as floats: `1` becomes `1.0`."""
    return {name: str(float(value)) if name == "quantile" else value for name, value in labels.items()}


async def test_every_series_is_stored_as_it_is_served() -> None:
    """The oracle is another reader: prometheus-client's. The live body is served again so that it stands still."""
    with node_exporter() as url:
        body = fetch(url)[0].decode()
    async with scraping() as target:
        await target.scrape(T1, body)
        await target.scrape(T1 + 1000)
        own = target.loop.target.labels
        expected = {
            Labels.of({METRIC_NAME: sample.name, **respelled(sample.labels), **dict(own)}): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
        stored = read_series(target.store)
        assert len(expected) > 200
        for labels, value in expected.items():
            expected_samples = [(T1, float(value)), (T1 + 1000, float(value))]
            assert repr(stored[labels]) == repr(expected_samples), labels  # NaN is not equal to itself
        assert len(stored) == len(expected) + 5
        assert target.report("scrape_samples_scraped") == [(T1, len(expected)), (T1 + 1000, len(expected))]
