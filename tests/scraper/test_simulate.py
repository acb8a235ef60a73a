"""Simulated fleets: exact, plausible, repeatable; and `fleetwatch simulate` as a target of a real scraper."""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fleetwatch.config import load_config
from scraper.manager import ScrapeManager
from scraper.simulate.fleet import SimulatedFleet
from tests.fleetwatch_process import fleetwatch
from tests.scraper.targets import eventually, read_series
from tsdb import open_store

NOW_S = 1_790_000_000.0
NAME = "server-0001"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

times_s = st.floats(1.7e9, 2.0e9)
seeds = st.integers(0, 1000)


def read(fleet: SimulatedFleet, time_s: float = NOW_S, name: str = NAME) -> Samples:
    """The samples of a body, by name and labels; an independent parser must know every line."""
    body = fleet.body(name, time_s)
    assert body is not None
    found = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    samples = {(sample.name, tuple(sorted(sample.labels.items()))): float(sample.value) for sample in found}
    assert len(samples) == len(found), "a series is there twice"
    return samples


def values(samples: Samples, name: str) -> list[float]:
    return [value for (metric, _), value in samples.items() if metric == name]


@pytest.mark.parametrize("churn", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("series", [10, 11, 19, 20, 57, 500, 1234])
def test_a_body_has_exactly_the_series_asked_for(series: int, churn: float) -> None:
    fleet = SimulatedFleet(18, series, churn)
    assert len(fleet.names) == len(set(fleet.names)) == 18
    assert {len(read(fleet, name=name)) for name in fleet.names} == {series}


def test_a_body_follows_from_seed_server_and_time() -> None:
    body = SimulatedFleet(20, 100, seed=7).body("server-0017", NOW_S)
    assert SimulatedFleet(20, 100, seed=7).body("server-0017", NOW_S) == body
    fleet = SimulatedFleet(20, 100, seed=8)
    others = {fleet.body(name, NOW_S) for name in fleet.names} | {fleet.body("server-0017", NOW_S + 15)}
    assert body not in others
    assert len(others) == 21
    assert fleet.body("server-0021", NOW_S) is None


@given(seeds, times_s, st.floats(0.1, 100_000))
def test_counters_go_up_until_the_machine_boots_again(seed: int, time_s: float, later_s: float) -> None:
    fleet = SimulatedFleet(1, 120, seed=seed)
    before, after = read(fleet, time_s), read(fleet, time_s + later_s)
    same_boot = values(before, "node_boot_time_seconds") == values(after, "node_boot_time_seconds")
    since_boot_s = time_s + later_s - values(after, "node_boot_time_seconds")[0]
    for series, value in after.items():
        if series[0].endswith("_total"):
            assert 0 <= (before[series] if same_boot else 0) <= value
    # Rates are those of a machine, also right after the boot.
    for busy in values(after, "node_disk_io_time_seconds_total"):
        assert busy <= since_boot_s


@given(seeds, times_s)
def test_the_parts_of_a_machine_add_up(seed: int, time_s: float) -> None:
    samples = read(SimulatedFleet(1, 300, seed=seed), time_s)
    uptime_s = time_s - values(samples, "node_boot_time_seconds")[0]
    cpus: dict[str, list[float]] = {}
    for (name, pairs), value in samples.items():
        if name == "node_cpu_seconds_total":
            cpus.setdefault(dict(pairs)["cpu"], []).append(value)
    assert len(cpus) > 4
    for modes in cpus.values():
        assert len(modes) == 8
        assert sum(modes) == pytest.approx(uptime_s, abs=0.1)

    def memory(field: str) -> float:
        return values(samples, f"node_memory_{field}_bytes")[0]

    assert 0 < memory("MemFree") < memory("MemAvailable") < memory("MemTotal")
    assert memory("MemFree") + memory("Cached") + memory("Buffers") < memory("MemTotal")
    assert 0 < values(samples, "node_load1")[0] < len(cpus)
    sizes, available = (values(samples, f"node_filesystem_{name}_bytes") for name in ("size", "avail"))
    assert all(0 < there < size for there, size in zip(available, sizes, strict=True))


def test_the_day_has_a_curve() -> None:
    fleet = SimulatedFleet(8, 60)
    midnight_s = NOW_S // 86_400 * 86_400
    by_hour = [
        sum(values(read(fleet, midnight_s + 3_600 * hour, name), "node_load1")[0] for name in fleet.names)
        for hour in range(24)
    ]
    assert sum(by_hour[9:15]) > 1.4 * sum(by_hour[:3] + by_hour[21:])


@pytest.mark.parametrize("churn", [0.0, 0.2, 1.0])
def test_churn_is_the_share_of_series_that_are_new_each_minute(churn: float) -> None:
    fleet = SimulatedFleet(1, 100, churn)
    sets = [frozenset(read(fleet, NOW_S + second)) for second in range(0, 240, 5)]
    changes = [len(after - before) for before, after in zip(sets, sets[12:], strict=False)]
    assert set(changes) == {min(round(churn * 100), 97)}
    assert len(set(sets)) == (1 if churn == 0 else 5)


@dataclass
class Simulation:
    process: subprocess.Popen[str]
    url: str
    targets: Path
    config: str


@contextlib.contextmanager
def simulation(directory: Path, *arguments: str) -> Iterator[Simulation]:
    """A running `fleetwatch simulate` on a free port."""
    targets = directory / "targets.json"
    command = [sys.executable, "-m", "fleetwatch", "simulate", "--web.listen-address", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--targets-file", str(targets), *arguments], stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(8)]
            yield Simulation(process, lines[0].rpartition(" ")[2].strip(), targets, "".join(lines[3:]))
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    return os.environ | {"NO_PROXY": "*"}


async def test_the_printed_config_scrapes_the_simulation(tmp_path: Path) -> None:
    with simulation(tmp_path, "--servers", "12", "--series", "50", "--seed", "3") as running:
        config_file = tmp_path / "prometheus.yml"
        config_file.write_text(running.config.replace("15s", "200ms"))
        store = open_store("memory:")
        manager = ScrapeManager(store)
        try:
            await manager.apply(load_config(config_file).config, tmp_path)
            await eventually(lambda: [target.health for target in manager.active_targets()] == ["up"] * 12)
            await eventually(lambda: sum(labels.metric_name == "up" for labels in read_series(store)) == 12)
        finally:
            await manager.stop()
        found: dict[str, int] = {}
        for labels in read_series(store):
            assert labels.get("job") == "node"
            found[labels.get("instance")] = found.get(labels.get("instance"), 0) + 1
        store.close()
        assert found == {f"server-{number:04d}:9100": 50 + 5 for number in range(1, 13)}
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


def test_the_simulation_over_http(tmp_path: Path) -> None:
    with simulation(tmp_path, "--servers", "2", "--series", "20") as running:
        assert list(tmp_path.iterdir()) == [running.targets]
        groups = json.loads(running.targets.read_text())
        assert [group["labels"]["__metrics_path__"] for group in groups] == [
            "/server-0001/metrics",
            "/server-0002/metrics",
        ]
        url = running.url.removesuffix("/") + groups[1]["labels"]["__metrics_path__"]
        assert f"http://{groups[1]['targets'][0]}/" == running.url
        with urlopen(url) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert b'nodename="server-0002"' in answer.read()
        with urlopen(Request(url, headers={"Accept-Encoding": "gzip"})) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert b'nodename="server-0002"' in gzip.decompress(answer.read())
        with urlopen(running.url) as answer:
            assert answer.read().decode() == running.config
        with pytest.raises(HTTPError, match="404"):
            urlopen(url.replace("0002", "0003"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--targets-file", "missing/targets.json"), "missing/targets.json: No such file or directory"),
        (("--web.listen-address", "nowhere"), '"nowhere" is no listen address'),
        (("--servers", "0"), "--servers"),
        (("--series", "9"), "--series"),
        (("--churn", "1.5"), "--churn"),
    ],
)
def test_what_cannot_be_simulated(tmp_path: Path, arguments: tuple[str, ...], error: str) -> None:
    ended = fleetwatch("simulate", "--web.listen-address", "127.0.0.1:0", *arguments, cwd=tmp_path)
    assert ended.returncode != 0
    assert error in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
