"""The groups of processes that use most: true counters, few series, and no pid in them."""

import contextlib
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from exporter.collectors.processes_top import ProcessesTopCollector, ProcessesTopOptions
from exporter.errors import ExporterError
from exporter.roots import Roots
from exporter.settings import ExporterSettings
from exposition.formats import Format, parse
from exposition.text import parse_text
from exposition.writer import write

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KERNEL_THREAD = 0x00200000
UPTIME_S = 10_000
NOBODY = 65534


class Host:
    """A /proc of our own making, read by one collector; the test sets `now_s`."""

    def __init__(self, procfs: Path, groups: int = 10) -> None:
        self.procfs = procfs
        self.now_s = 0.0
        (procfs / "uptime").write_text(f"{UPTIME_S}.25 5000.00\n")
        options = ProcessesTopOptions(groups=groups)
        self._collector = ProcessesTopCollector(Roots(procfs=procfs), options, clock=lambda: self.now_s)

    def run(
        self,
        pid: int,
        command: str | bytes,
        ticks: int = 0,
        *,
        start: int = 5000,
        pages: int = 1,
        io: tuple[int, int] | None = (0, 0),
        files: int = 0,
        flags: int = 0,
    ) -> None:
        """A process as it is from now on."""
        directory = self.procfs / str(pid)
        (directory / "fd").mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (directory / "fd" / str(number)).touch()
        name = command if isinstance(command, bytes) else command.encode()
        user, system = ticks // 2, ticks - ticks // 2
        numbers = (
            f"S 1 1 1 0 -1 {flags} 0 0 0 0 {user} {system} 7 7 20 0 1 0 {start} 123456 {pages} 18446744073709551615"
        )
        (directory / "stat").write_bytes(b"%d (%s) %s 0 0 0\n" % (pid, name, numbers.encode()))
        if io is not None:
            read, written = io
            text = f"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: {read}\nwrite_bytes: {written}\n"
            (directory / "io").write_text(f"{text}cancelled_write_bytes: 9\n")

    def end(self, pid: int) -> None:
        directory = self.procfs / str(pid)
        for file in (directory / "fd").iterdir():
            file.unlink()
        (directory / "fd").rmdir()
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()

    def body(self, body_format: Format = Format.TEXT) -> bytes:
        return write(self._collector.collect(), body_format)

    def values(self, metric: str) -> dict[str, float]:
        """By group."""
        samples = parse_text(self.body()).samples
        name = f"node_processes_top_{metric}"
        return {s.labels.get("groupname"): s.value for s in samples if s.labels.metric_name == name}

    def groups(self) -> set[str]:
        return set(self.values("processes"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_group_is_the_sum_of_its_processes(host: Host) -> None:
    host.run(10, "nginx", 100, pages=30, io=(1000, 50), files=3)
    host.run(11, "nginx", 200, pages=20, io=(2000, 60), files=4)
    host.run(12, "sshd", 5)
    host.body()
    host.run(10, "nginx", 150, pages=31, io=(1500, 51), files=3)
    host.run(11, "nginx", 201, pages=20, io=(2001, 60), files=5)
    samples = parse_text(host.body()).samples

    assert {s.labels.metric_name: s.value for s in samples if s.labels.get("groupname") == "nginx"} == {
        "node_processes_top_cpu_seconds_total": 51 / TICKS_PER_S,
        "node_processes_top_resident_memory_bytes": 51 * PAGE_BYTES,
        "node_processes_top_read_bytes_total": 501,
        "node_processes_top_written_bytes_total": 1,
        "node_processes_top_open_files": 8,
        "node_processes_top_processes": 2,
    }
    assert {name for sample in samples for name, _ in sample.labels} == {"__name__", "groupname"}


def test_what_ended_processes_used_stays_counted(host: Host) -> None:
    host.run(10, "cc1", 1000)
    assert host.values("cpu_seconds_total") == {"cc1": 0}  # used before the first scrape
    host.run(11, "cc1", 300)
    assert host.values("cpu_seconds_total") == {"cc1": 300 / TICKS_PER_S}
    host.end(11)
    assert host.values("cpu_seconds_total") == {"cc1": 300 / TICKS_PER_S}
    host.run(10, "cc1", 2, start=9000)  # another process with the pid of an ended one
    assert host.values("cpu_seconds_total") == {"cc1": 302 / TICKS_PER_S}
    host.end(10)
    assert host.values("processes") == {"cc1": 0}
    assert host.values("resident_memory_bytes") == {"cc1": 0}


def test_io_is_counted_from_the_start_of_a_process_or_the_first_look(host: Host) -> None:
    host.run(10, "dd", 10, io=(5000, 7000))
    assert host.values("read_bytes_total") == {"dd": 0}
    host.run(10, "dd", 10, io=(5100, 7000))
    host.run(11, "dd", 10, io=(30, 40), start=6000)
    assert host.values("read_bytes_total") == {"dd": 130}
    assert host.values("written_bytes_total") == {"dd": 40}


Scrape = dict[int, tuple[int, str, int]]
"""Of each process that runs: its start, its command, the ticks it uses until the next scrape."""
_scrapes = st.lists(
    st.dictionaries(
        st.integers(1, 6), st.tuples(st.integers(1, 3), st.sampled_from("abcd"), st.integers(0, 50)), max_size=6
    ),
    min_size=1,
    max_size=8,
)


@given(_scrapes)
def test_counters_are_the_sums_of_what_was_used_since_the_first_scrape(scrapes: list[Scrape]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory))
        used: Counter[str] = Counter()
        total: Counter[tuple[int, int]] = Counter()
        running: Scrape = {}
        for index, scrape in enumerate(scrapes):
            for pid in running.keys() - scrape.keys():
                host.end(pid)
            for pid, (start, command, ticks) in scrape.items():
                if running.get(pid, (0,))[0] != start:
                    total[pid, start] = 0
                total[pid, start] += ticks
                used[command] += ticks if index else 0
                host.run(pid, command, total[pid, start], start=start)
            running = scrape
            found = host.values("cpu_seconds_total")
            commands = {command for _, command, _ in scrape.values()}
            assert commands <= found.keys()
            assert {name: round(value * TICKS_PER_S) for name, value in found.items()} == {
                name: used[name] for name in found
            }


@given(_scrapes, st.sampled_from([15.0, 4000.0]))
def test_counters_never_fall_while_groups_come_and_go(scrapes: list[Scrape], interval_s: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory), groups=2)
        total: Counter[tuple[int, int]] = Counter()
        running: Scrape = {}
        shown: dict[Labels, float] = {}
        for scrape in scrapes:
            for pid in running.keys() - scrape.keys():
                host.end(pid)
            for pid, (start, command, ticks) in scrape.items():
                if running.get(pid, (0,))[0] != start:
                    total[pid, start] = 0
                used = total[pid, start] = total[pid, start] + ticks
                host.run(pid, command, used, start=start, io=(7 * used, 3 * used))
            running = scrape
            host.now_s += interval_s
            samples = parse_text(host.body()).samples
            assert len(samples) <= 2 * 6
            counters = {s.labels: s.value for s in samples if s.labels.metric_name.endswith("_total")}
            assert [labels for labels, value in counters.items() if value < shown.get(labels, 0)] == []
            shown |= counters


def test_a_group_that_was_displaced_goes_on_where_it_was(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=1)
    host.run(1, "first", 0, pages=1000)
    host.run(2, "second", 0, pages=1)
    host.body()
    host.run(1, "first", 40, pages=1000, io=(400, 0))
    assert host.values("cpu_seconds_total") == {"first": 40 / TICKS_PER_S}
    host.run(1, "first", 50, pages=1, io=(500, 0))
    host.run(2, "second", 0, pages=1000)
    assert host.groups() == {"second"}
    host.run(1, "first", 60, pages=10_000, io=(600, 0))
    assert host.values("cpu_seconds_total") == {"first": 60 / TICKS_PER_S}
    assert host.values("read_bytes_total") == {"first": 600}


def test_a_group_that_ended_goes_on_where_it_was(host: Host) -> None:
    host.run(1, "init")
    host.body()
    host.run(2, "backup", 500, io=(70, 0))
    assert host.values("cpu_seconds_total") == {"init": 0, "backup": 500 / TICKS_PER_S}
    host.end(2)
    host.now_s = 4000
    assert host.groups() == {"init"}
    host.run(3, "backup", 700, io=(5, 0))
    assert host.values("cpu_seconds_total") == {"init": 0, "backup": 1200 / TICKS_PER_S}
    assert host.values("read_bytes_total") == {"init": 0, "backup": 75}


def test_however_many_groups_there_are_few_are_served(host: Host) -> None:
    for number in range(200):
        host.run(1000 + number, f"job-{number}", 10 * number, pages=number, files=1)
    host.body()

    assert len(parse_text(host.body()).samples) == 60
    assert host.groups() == {f"job-{number}" for number in range(190, 200)}


def test_fewer_may_be_asked_for(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=2)
    for number in range(5):
        host.run(number + 1, f"job-{number}", pages=number)

    assert host.groups() == {"job-3", "job-4"}


def test_the_busy_and_the_large_are_both_served(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=2)
    host.run(1, "database", pages=100_000)
    for number in range(10, 60):
        host.run(number, f"small-{number}", 100, pages=500)
    host.run(2, "busy")
    host.body()
    host.run(2, "busy", 20 * TICKS_PER_S)

    assert host.groups() == {"database", "busy"}


def test_groups_that_are_alike_do_not_take_turns(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=1)
    host.run(1, "first", pages=1000)
    host.run(2, "second", pages=999)
    assert host.groups() == {"first"}
    host.run(2, "second", pages=1200)
    assert host.groups() == {"first"}
    host.run(2, "second", pages=2000)
    assert host.groups() == {"second"}
    host.run(1, "first", pages=2400)
    assert host.groups() == {"second"}


def test_what_was_used_long_ago_counts_no_more(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=1)
    host.run(1, "morning")
    host.run(2, "evening")
    host.body()
    host.run(1, "morning", 1000 * TICKS_PER_S)
    assert host.groups() == {"morning"}
    host.now_s = 3600
    host.run(2, "evening", 20 * TICKS_PER_S)
    assert host.groups() == {"evening"}


def test_at_the_start_the_rate_of_use_counts_and_not_the_age(tmp_path: Path) -> None:
    host = Host(tmp_path, groups=1)
    host.run(1, "old", 1000 * TICKS_PER_S, start=0)
    host.run(2, "young", 90 * TICKS_PER_S, start=(UPTIME_S - 100) * TICKS_PER_S)

    assert host.groups() == {"young"}


def test_kernel_threads_are_left_out(host: Host) -> None:
    host.run(2, "kthreadd", 900, flags=KERNEL_THREAD | 0x40)
    host.run(3, "init", flags=0x400100)

    assert host.groups() == {"init"}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (') S 1 (a"\\\n}', ') S 1 (a"\\\n}'),
        (b"(sd-pam)", "(sd-pam)"),
        (b"two words", "two words"),
        (b"caf\xe9", "caf\ufffd"),
        ("kö".encode(), "kö"),
    ],
)
@pytest.mark.parametrize("body_format", [Format.TEXT, Format.OPENMETRICS])
def test_any_command_is_a_valid_label(command: str | bytes, name: str, body_format: Format, host: Host) -> None:
    host.run(1, command, 7, pages=3)
    end = b"" if body_format is Format.TEXT else b"# EOF\n"
    samples = parse(host.body(body_format) + end, body_format).samples

    assert {sample.labels.get("groupname") for sample in samples} == {name}
    assert len(samples) == 6


def test_commands_that_are_written_alike_are_one_group(host: Host) -> None:
    host.run(1, b"a\xe9")
    host.run(2, b"a\xe8")

    assert host.values("processes") == {"a\ufffd": 2}


def test_a_process_that_ends_while_it_is_read_is_left_out(host: Host) -> None:
    host.run(1, "init", io=None)
    (host.procfs / "7").mkdir()

    assert host.groups() == {"init"}
    assert host.values("read_bytes_total") == {}


@pytest.mark.parametrize("content", [b"", b"1 (init) S 1\n", b"1 (init) S 1 1 1 0 -1 x 0 0\n"])
def test_what_is_no_state_of_a_process_is_named(content: bytes, host: Host) -> None:
    host.run(1, "init")
    (host.procfs / "1/stat").write_bytes(content)

    with pytest.raises(ValueError, match=r"/1/stat: .* is no state of a process"):
        host.body()


def test_an_error_makes_nothing_count_twice(host: Host) -> None:
    host.run(1, "init", 10)
    host.body()
    host.run(1, "init", 15)
    host.run(2, "bad")
    (host.procfs / "2/stat").write_bytes(b"")
    with pytest.raises(ValueError, match="no state"):
        host.body()
    host.run(2, "bad")

    assert host.values("cpu_seconds_total")["init"] == 5 / TICKS_PER_S


@pytest.mark.parametrize("groups", [-1, 0, 11])
def test_the_number_of_groups_is_limited(groups: int) -> None:
    with pytest.raises(ValueError, match=f"groups is {groups}: it must be from 1 to 10"):
        ProcessesTopCollector(Roots(), ProcessesTopOptions(groups=groups))


def test_names_that_come_and_go_take_no_memory(host: Host) -> None:
    def churn(first: int, last: int) -> None:
        for scrape in range(first, last):
            for pid in range(1, 51):
                host.run(pid, f"{scrape}-{pid}", pages=1, start=scrape, io=None)
            host.body()

    churn(0, 5)
    tracemalloc.start()
    churn(5, 10)
    before, _ = tracemalloc.get_traced_memory()
    churn(10, 40)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 50_000


@pytest.fixture
def burner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses CPU time, memory, I/O and three more files than it was given, until it is told to end."""
    code = (
        "import sys, os\n"
        "files = [open(sys.argv[1], 'wb', buffering=0) for _ in range(3)]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "files[0].write(bytes(1_000_000)); os.fsync(files[0].fileno())\n"
        "sum(range(15_000_000))\n"
        "print('done', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, str(tmp_path / "written")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.communicate("\n")


def test_a_live_process_is_measured_as_psutil_measures_it(burner: subprocess.Popen[str], tmp_path: Path) -> None:
    process = psutil.Process(burner.pid)
    if burner.stdin is None or burner.stdout is None:
        raise AssertionError("the burner has no pipes")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").symlink_to("/proc/uptime")
    (tmp_path / "proc" / str(burner.pid)).symlink_to(f"/proc/{burner.pid}")
    collector = ProcessesTopCollector(Roots(procfs=tmp_path / "proc"), ProcessesTopOptions())
    burner.stdout.readline()
    write(collector.collect(), Format.TEXT)
    cpu_before, io_before = process.cpu_times(), process.io_counters()
    burner.stdin.write("\n")
    burner.stdin.flush()
    burner.stdout.readline()
    samples = parse_text(write(collector.collect(), Format.TEXT)).samples
    found = {s.labels.metric_name.removeprefix("node_processes_top_"): s.value for s in samples}
    cpu, io = process.cpu_times(), process.io_counters()
    used = cpu.user + cpu.system - cpu_before.user - cpu_before.system

    assert {s.labels.get("groupname") for s in samples} == {process.name()}
    assert found["cpu_seconds_total"] == pytest.approx(used, abs=0.03)
    assert found["written_bytes_total"] == io.write_bytes - io_before.write_bytes
    assert found["read_bytes_total"] == io.read_bytes - io_before.read_bytes
    assert found["resident_memory_bytes"] == pytest.approx(process.memory_info().rss, rel=0.1)
    assert found["open_files"] == process.num_fds()
    assert found["processes"] == 1


def test_the_live_host_gives_few_series_whose_counters_do_not_fall() -> None:
    collector = ProcessesTopCollector(Roots(), ProcessesTopOptions())
    first, second = (parse_text(write(collector.collect(), Format.TEXT)).samples for _ in range(2))
    before = {s.labels: s.value for s in first if s.labels.metric_name.endswith("_total")}

    assert 0 < len(first) <= 60
    assert 0 < len(second) <= 60
    assert {name for sample in second for name, _ in sample.labels} == {"__name__", "groupname"}
    assert sum(s.value for s in second if s.labels.metric_name.endswith("_bytes")) > 0
    assert [s for s in second if s.value < before.get(s.labels, 0)] == []


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: it gives that up for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_looked_at_is_absent_and_not_zero() -> None:
    """Of root's processes others may read the CPU time and the memory, and neither I/O nor open files."""
    with tempfile.TemporaryDirectory() as directory:
        procfs = Path(directory)
        procfs.chmod(0o755)
        (procfs / "uptime").symlink_to("/proc/uptime")
        (procfs / "1").symlink_to("/proc/1")
        collector = ProcessesTopCollector(Roots(procfs=procfs), ProcessesTopOptions())
        with as_nobody():
            families = list(collector.collect())

    assert {family.name.removeprefix("node_processes_top_") for family in families if family.lines} == {
        "cpu_seconds_total",
        "resident_memory_bytes",
        "processes",
    }


def test_what_may_no_longer_be_looked_at_vanishes_and_comes_back() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        host = Host(Path(directory))
        host.run(1, "postgres", io=(100, 0))
        host.run(2, "postgres", io=(100, 0), files=2)
        assert host.values("read_bytes_total") == {"postgres": 0}
        assert host.values("open_files") == {"postgres": 2}
        for name in ("io", "fd"):
            (host.procfs / "2" / name).chmod(0)
        with as_nobody():
            assert host.values("read_bytes_total") == {}
            assert host.values("open_files") == {}
        for name in ("io", "fd"):
            (host.procfs / "2" / name).chmod(0o700)
        host.run(2, "postgres", io=(107, 0), files=2)
        assert host.values("read_bytes_total") == {"postgres": 7}


def test_it_is_off_by_default_and_refuses_too_many_groups() -> None:
    assert not ExporterSettings().is_enabled("processes_top")
    settings = ExporterSettings()
    kind = type(settings.collectors)
    with pytest.raises(ExporterError, match="the options of the collector processes_top cannot be used: groups is 11"):
        ExporterSettings(
            collectors=kind(processes_top=type(settings.collectors.processes_top)(enabled=True, groups=11))
        ).registry("linux")
