"""`storage.limits` of the config file, in a whole process."""

from pathlib import Path

from tests.fleetwatch_process import running

# More than this process exposes of itself, and less than a host's exporter does.
LIMIT = 250


def test_a_target_over_its_limit_fails_and_others_do_not(tmp_path: Path) -> None:
    with running(tmp_path, more_storage=f"  limits: {{series_per_target: {LIMIT}}}") as process:
        process.wait_for("sum(fleetwatch_tsdb_series_refused_total)", lambda answer: answer.get("{}", 0) > 0)
        targets = {target["scrapePool"]: target for target in process.api("targets")["activeTargets"]}
        assert targets["fleetwatch"]["health"] == "up"
        assert targets["node"]["health"] == "down"
        assert f"of the {LIMIT} that storage.limits.series_per_target allows" in targets["node"]["lastError"]
        assert set(process.query('up{job="node"}').values()) == {0}
        assert set(process.query('scrape_samples_scraped{job="node"} > bool 250').values()) == {1}
        series = process.api("status/tsdb")["fleetwatch"]["seriesCountByTarget"]
        assert max(target["value"] for target in series) <= LIMIT
