"""A live node_exporter as a static target of `fleetwatch run`: everything it serves can be queried over the API."""

import json
from pathlib import Path

from exposition.formats import choose_format, parse
from tests.exporter.node_exporter import fetch, node_exporter
from tests.fleetwatch_process import FleetwatchProcess, running

JOB = """\
  - job_name: debian
    static_configs:
      - targets: ["{address}"]
"""
REPORT = ("up", "scrape_")


def served(url: str) -> dict[str, float]:
    """The series of the exporter by their labels in JSON."""
    body, content_type = fetch(url)
    samples = parse(body, choose_format(content_type)).samples
    return {json.dumps(sample.labels.as_dict(), sort_keys=True): sample.value for sample in samples}


def stored(process: FleetwatchProcess, address: str) -> dict[str, float]:
    """The same of the store, less what the scrape added."""
    found = {}
    for series, value in process.query('{job="debian"}').items():
        labels = json.loads(series)
        assert labels.pop("job") == "debian"
        assert labels.pop("instance") == address
        if not labels["__name__"].startswith(REPORT):
            found[json.dumps(labels, sort_keys=True)] = value
    return found


def test_every_series_of_a_live_node_exporter(tmp_path: Path) -> None:
    with node_exporter() as url:
        address = url.removeprefix("http://").removesuffix("/metrics")
        with running(tmp_path, more_jobs=JOB.format(address=address)) as process:
            process.wait_for(
                'count_over_time(up{job="debian"}[1m])', lambda answer: any(n >= 3 for n in answer.values())
            )
            before = served(url)
            scrapes = process.query('count_over_time(up{job="debian"}[1h])')
            process.wait_for('count_over_time(up{job="debian"}[1h])', lambda answer: answer != scrapes)
            found = stored(process, address)
            after = served(url)
    assert found.keys() == before.keys() == after.keys()
    # Gauges may have been anything in between; that every value is the served one, to the bit, is shown on a body that
    # stands still (tests/scraper/test_node_exporter.py).
    counters = [series for series in found if '_total"' in series]
    assert len(counters) > 100
    assert all(before[series] <= found[series] <= after[series] for series in counters)
    infos = {series: value for series, value in before.items() if '_info"' in series}
    assert infos.items() <= found.items()
