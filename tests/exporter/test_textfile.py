"""Files with metrics: served as node_exporter serves them, and each bad one left out by itself."""

import os
from pathlib import Path

import pytest

from common.yamlfile import Duration
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.textfile import TextfileCollector, TextfileOptions
from exporter.collectors.textfile_reader import MAX_BYTES
from exporter.registry import Registry
from exporter.roots import Roots
from exposition.formats import Format, parse
from exposition.text import parse_text
from exposition.writer import write
from tests.exporter.node_exporter import fetch, node_exporter

GOOD = {
    "counter": "# HELP jobs_total Jobs that ran.\n# TYPE jobs_total counter\njobs_total 3\n",
    "gauge": '# TYPE temperature gauge\ntemperature{room="cellar",side="north"} -1.5e1\n',
    "untyped": 'something 1\nsomething_else{a="b"} 2\n',
    "declared_untyped": "# TYPE declared untyped\ndeclared 1\n",
    "histogram": (
        "# HELP took_seconds Time.\n# TYPE took_seconds histogram\n"
        'took_seconds_bucket{le="0.5"} 1\ntook_seconds_bucket{le="1"} 2\ntook_seconds_bucket{le="+Inf"} 3\n'
        "took_seconds_sum 4.25\ntook_seconds_count 3\n"
    ),
    "summary": '# TYPE size_bytes summary\nsize_bytes{quantile="0.5"} 10\nsize_bytes_sum 100\nsize_bytes_count 7\n',
    "escapes": (
        '# HELP escaped Back\\\\slash and \\n.\n# TYPE escaped gauge\nescaped{path="C:\\\\x",q="\\"",n="a\\nb"} 1\n'
    ),
    "special_values": '# TYPE special gauge\nspecial{v="1"} NaN\nspecial{v="2"} +Inf\nspecial{v="3"} -Inf\n',
    "utf8": '# TYPE place gauge\nplace{city="Zürich"} 1\n',
    "blank_lines": "\n\n# A remark.\n# TYPE spaced gauge\nspaced 1\n\n",
    "loose_spaces": '# TYPE loose gauge\nloose{ a = "b" , c = "d" }   7\n',
    "shared_1": '# HELP shared From several.\n# TYPE shared gauge\nshared{from="1"} 1\n',
    "shared_2": '# HELP shared From several.\n# TYPE shared gauge\nshared{from="2"} 2\n',
    "no_help_1": '# TYPE helpless gauge\nhelpless{from="1"} 1\n',
    "no_help_2": '# TYPE helpless gauge\nhelpless{from="2"} 2\n',
    "empty": "",
}
BAD: dict[str, tuple[str | bytes, str]] = {
    "timestamp": ("a 1 1700000000000\n", "line 1: has a timestamp"),
    "no_value": ("a 1\nb\n", "line 2, column 2: expected a value"),
    "no_number": ("a one\n", "line 1, column 3"),
    "open_quote": ('a{b="c} 1\n', "line 1"),
    "twice": ('a{x="1"} 1\nb 2\na{x="1"} 3\n', 'line 3: a{x="1"} is there twice'),
    "bad_type": ("# TYPE a info\na 1\n", "line 1, column 10"),
    "no_utf8": (b'a{b="\xff"} 1\n', "UTF-8"),
    "odd_name": ('{"with blank"} 1\n', "no plain name"),
    "line_feed_before_comment": ('a{b="c\n# d"} 1\n', "line 1: a label value has a line feed"),
    "half_written": ("a 1\nb 12", "its last line has no end"),
    "type_after_samples": ("a 1\n# TYPE a gauge\n", "line 2: the TYPE of a comes after its samples"),
    "two_types": ("# TYPE a gauge\n# TYPE a gauge\na 1\n", "line 2: a second TYPE of a"),
    "two_helps": ("# HELP a A.\n\n# HELP a A.\na 1\n", "line 3: a second HELP of a"),
    "bucket": ('# TYPE a histogram\na_bucket{le="x"} 1\n', "line 2: 'x' is no number, as le is of a histogram"),
    "quantile": ('# TYPE a summary\na{quantile=""} 1\na{quantile="y"} 1\n', "'y' is no number, as quantile is"),
    # Here node_exporter 1.11 ends.
    "reserved_label": ('a{__x__="1"} 1\n', "line 1: the label __x__ is reserved"),
    "carriage_returns": ("# TYPE a gauge\r\na 1\r\n", "line 1, column 10"),
    "line_feed": ('a{b="c\nd"} 1\n', "a label value has a line feed"),
}


def write_files(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / f"{name}.prom").write_text(text)
    return directory


def collector(*directories: Path, max_age_ms: int = 0, now: float = 0.0) -> TextfileCollector:
    options = TextfileOptions(directory=tuple(map(str, directories)), max_age=Duration(max_age_ms))
    return TextfileCollector(Roots(), options, clock=lambda: now)


def body(textfiles: TextfileCollector, body_format: Format = Format.TEXT) -> bytes:
    return write(textfiles.collect(), body_format)


def values(textfiles: TextfileCollector) -> dict[str, float]:
    return {str(sample.labels): sample.value for sample in parse_text(body(textfiles)).samples}


def errors(found: dict[str, float]) -> dict[str, float]:
    return {series: value for series, value in found.items() if series.startswith("node_textfile_scrape_error")}


def test_good_files_are_served_as_by_node_exporter(tmp_path: Path) -> None:
    write_files(tmp_path, GOOD)
    (tmp_path / "ignored.txt").write_text("ignored 1\n")
    flags = ("--collector.disable-defaults", "--web.disable-exporter-metrics", "--collector.textfile")
    with node_exporter(*flags, f"--collector.textfile.directory={tmp_path}") as url:
        theirs = parse_text(fetch(url)[0])
    ours = parse_text(body(collector(tmp_path)))

    expected = {
        str(sample.labels): repr(sample.value)
        for sample in theirs.samples
        if not sample.labels.metric_name.startswith(("node_exporter_", "node_scrape_", "promhttp_"))
    }
    assert len(expected) > 35
    assert {str(sample.labels): repr(sample.value) for sample in ours.samples} == expected
    assert {name: theirs.metadata[name] for name in ours.metadata} == ours.metadata


def test_files_are_served_in_openmetrics_too(tmp_path: Path) -> None:
    textfiles = collector(write_files(tmp_path, GOOD))
    read = parse(body(textfiles, Format.OPENMETRICS) + b"# EOF\n", Format.OPENMETRICS)

    assert read.metadata["jobs"].type == "counter"
    assert {sample.labels.metric_name for sample in read.samples} >= {"jobs_total", "loose", "took_seconds_bucket"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_left_out_and_named(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text, message = BAD[name]
    write_files(tmp_path, GOOD)
    bad = tmp_path / "bad.prom"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    textfiles = collector(tmp_path)
    found = values(textfiles)
    values(textfiles)

    assert "jobs_total" in found
    assert not [series for series in found if series in ("a", "b") or series.startswith(("a{", "b{"))]
    assert errors(found) == {
        "node_textfile_scrape_error": 1,
        f'node_textfile_scrape_error{{file="{bad}"}}': 1,
    }
    assert f'node_textfile_mtime_seconds{{file="{bad}"}}' not in found
    (record,) = caplog.records
    assert record.__dict__["file"] == str(bad)
    assert message in record.__dict__["error"]


FIRST = """\
# HELP a One.
# TYPE a gauge
a 1
# TYPE b histogram
b_bucket{le="+Inf"} 1
b_sum 1
b_count 1
c_count 5
"""


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("# TYPE a gauge\na 2\n", "a is in an earlier file too"),
        ("# TYPE a counter\na 2\n", "the type of a is counter here and gauge in an earlier file"),
        ("a 2\n", "the type of a is unknown here and gauge in an earlier file"),
        ('# HELP a Two.\n# TYPE a gauge\na{x="1"} 2\n', "the HELP of a is 'Two.' here and 'One.' in an earlier file"),
        (
            "# TYPE a_sum gauge\na_sum 1\n# TYPE h summary\nh_sum 1\nh_count 2\n# TYPE b_count gauge\nb_count 1\n",
            "the name b_count is taken by b",
        ),
        ('# TYPE c histogram\nc_bucket{le="+Inf"} 1\nc_sum 1\nc_count 1\n', "the name c_count is taken by c_count"),
        (
            '# TYPE node_textfile_mtime_seconds gauge\nnode_textfile_mtime_seconds{file="x"} 1\n',
            "the name node_textfile_mtime_seconds is taken by the exporter",
        ),
        ("node_textfile_scrape_error 0\n", "the name node_textfile_scrape_error is taken by the exporter"),
    ],
)
def test_of_two_files_that_contradict_the_first_is_served(
    second: str, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_files(tmp_path, {"1": FIRST, "2": second})
    found = values(collector(tmp_path))

    assert found["a"] == 1
    assert found[f'node_textfile_scrape_error{{file="{tmp_path}/2.prom"}}'] == 1
    assert caplog.records[0].__dict__["error"] == message


def test_what_another_collector_gives_is_left_out(tmp_path: Path) -> None:
    write_files(tmp_path, {"1": "# TYPE node_load1 gauge\nnode_load1 99\nfine 1\n"})
    registry = Registry({"loadavg": LoadavgCollector(Roots()), "textfile": collector(tmp_path)})
    try:
        found = {
            str(sample.labels): sample.value for sample in parse_text(write(registry.collect(), Format.TEXT)).samples
        }
    finally:
        registry.close()

    assert found["node_load1"] != 99
    assert found["fine"] == 1
    assert found['node_scrape_collector_success{collector="loadavg"}'] == 1
    assert found['node_scrape_collector_success{collector="textfile"}'] == 0


def test_what_is_no_readable_file_does_not_hang(tmp_path: Path) -> None:
    write_files(tmp_path, {"good": "good 1\n"})
    os.mkfifo(tmp_path / "fifo.prom")
    (tmp_path / "dangling.prom").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory.prom").mkdir()
    start = "huge 1\n# "
    (tmp_path / "huge.prom").write_text(f"{start.ljust(MAX_BYTES, 'x')}\n")
    found = values(collector(tmp_path, tmp_path / "missing"))

    assert found["good"] == 1
    assert "huge" not in found
    assert len(errors(found)) == 1 + 5


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    path.write_text("a 1\n")
    textfiles = collector(tmp_path)
    assert values(textfiles)["a"] == 1

    (tmp_path / "new").write_text("a 2\n")
    os.utime(tmp_path / "new", ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    (tmp_path / "new").rename(path)
    assert values(textfiles)["a"] == 2

    path.write_text("a\n")
    assert "a" not in values(textfiles)
    path.write_text("a 3 \n")
    found = values(textfiles)
    assert found["a"] == 3
    assert errors(found) == {"node_textfile_scrape_error": 0}

    path.unlink()
    assert "a" not in values(textfiles)


def test_old_files_vanish_where_that_is_asked_for(tmp_path: Path) -> None:
    write_files(tmp_path, {"old": "old 1\n", "new": "new 1\n"})
    os.utime(tmp_path / "old.prom", (1000, 1000))
    os.utime(tmp_path / "new.prom", (4000, 4000))

    found = values(collector(tmp_path, max_age_ms=3_600_000, now=5000))
    assert "new" in found
    assert "old" not in found
    assert found[f'node_textfile_mtime_seconds{{file="{tmp_path}/old.prom"}}'] == 1000
    assert "old" in values(collector(tmp_path, now=5000))


def test_directories_may_be_globs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_files(tmp_path / name, {"x": f"metric_{name} 1\n"})

    assert {"metric_one", "metric_two"} <= values(collector(tmp_path / "*")).keys()


def test_without_directories_there_is_no_error() -> None:
    assert values(collector()) == {"node_textfile_scrape_error": 0}
