"""`fleetwatch run` as a user meets it: one process, this host's metrics, and the tools that speak to Prometheus."""

import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from tests.components import require
from tests.fleetwatch_process import FleetwatchProcess, fleetwatch, running


def test_this_host_and_fleetwatch_itself_are_up(fleetwatch_run: FleetwatchProcess) -> None:
    answer = fleetwatch_run.query("up")
    assert {json.loads(series)["job"]: value for series, value in answer.items()} == {"node": 1, "fleetwatch": 1}


def test_promtool_gets_the_cpu_by_mode(fleetwatch_run: FleetwatchProcess) -> None:
    expr = "sum by (mode) (rate(node_cpu_seconds_total[1m]))"
    done = subprocess.run(
        [require("promtool"), "query", "instant", fleetwatch_run.url, expr], capture_output=True, text=True, check=True
    )
    modes = {line.split("=>")[0].strip() for line in done.stdout.splitlines()}
    assert {'{mode="idle"}', '{mode="user"}', '{mode="system"}', '{mode="iowait"}'} <= modes, done.stdout


def test_the_query_command_prints_a_table(fleetwatch_run: FleetwatchProcess) -> None:
    done = fleetwatch("query", "--url", fleetwatch_run.url, 'up{job="node"}')
    assert done.returncode == 0, done.stderr
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["SERIES", "VALUE"]
    assert row.startswith('up{instance="localhost:')
    assert row.endswith(" 1")


def test_the_query_command_of_a_range_in_json(fleetwatch_run: FleetwatchProcess) -> None:
    done = fleetwatch("query", "--url", fleetwatch_run.url, "--range", "1m", "--step", "1s", "--json", "sum(up)")
    data = json.loads(done.stdout)
    assert data["resultType"] == "matrix"
    assert data["result"][0]["values"][-1][1] == "2"


def test_every_process_tells_of_itself(fleetwatch_run: FleetwatchProcess) -> None:
    answer = fleetwatch_run.query('{__name__=~"fleetwatch_build_info|process_resident_memory_bytes",job="fleetwatch"}')
    assert {json.loads(series)["__name__"] for series in answer} == {
        "fleetwatch_build_info",
        "process_resident_memory_bytes",
    }


def test_promtool_finds_nothing_to_say_of_its_own_metrics(fleetwatch_run: FleetwatchProcess) -> None:
    with urlopen(f"{fleetwatch_run.url}/metrics", timeout=30) as response:
        done = subprocess.run(
            [require("promtool"), "check", "metrics"], input=response.read(), capture_output=True, check=False
        )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_stop_is_clean_and_a_second_start_has_the_data(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        before = process.wait_for("count_over_time(up[5m])", partial(all_at_least, 3))
        assert process.stop() == 0
        assert "Traceback" not in process.log
    with running(tmp_path, port=process.port, exporter_port=process.exporter_port) as process:
        after = process.query("count_over_time(up[5m])")
    assert all(after[series] >= count for series, count in before.items())


def test_kill_9_under_load_loses_no_scrape_that_could_be_read(tmp_path: Path) -> None:
    port = exporter_port = 0
    expected: dict[str, float] = {}
    for _ in range(3):
        with running(tmp_path, interval="100ms", port=port, exporter_port=exporter_port) as process:
            port, exporter_port = process.port, process.exporter_port
            counts = process.query("count_over_time(up[1h])")
            assert all(counts[series] >= count for series, count in expected.items())
            enough = min(counts.values(), default=0) + 20
            process.wait_for("count_over_time(up[1h])", partial(all_at_least, enough))
            expected = process.query("count_over_time(up[1h] offset 1s)")
            process.kill()


def all_at_least(least: float, answer: dict[str, float]) -> bool:
    return len(answer) == 2 and min(answer.values()) >= least


def test_a_bad_file_on_reload_leaves_the_old_config_in_force(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        config = tmp_path / "fleetwatch.yml"
        config.write_text(config.read_text().replace("scrape_interval", "scrape_intervall"))
        process.process.send_signal(signal.SIGHUP)
        process.wait_for("fleetwatch_config_last_reload_successful", lambda answer: list(answer.values()) == [0])
        assert f"{config}:2: global.scrape_intervall: unknown key" in process.log
        config.write_text(
            config.read_text()
            .replace("scrape_intervall", "scrape_interval")
            .replace("job_name: node", "job_name: host")
        )
        process.process.send_signal(signal.SIGHUP)
        process.wait_for('up{job="host"}', lambda answer: list(answer.values()) == [1])
        process.wait_for('up{job="node"}', lambda answer: answer == {})
