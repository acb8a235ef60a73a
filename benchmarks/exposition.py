"""Microseconds to read one sample: the fast way, the strict reader, and prometheus_client's.

    python -m benchmarks.exposition [--body FILE]

The body is node_exporter's of this host where that is installed, else the one of Fleetwatch's own exporter. CPU
time, best of several rounds.
"""

import argparse
import time
import timeit
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.exporter import fetch, running_node_exporter
from exporter.app import MetricsPage
from exporter.settings import ExporterSettings
from exposition.fast import Split, split
from exposition.formats import Format
from exposition.protobuf import read_protobuf
from exposition.text import parse_text

ROUNDS = 7
ROUND_S = 0.1


TIME = b" 1764000000123"
EXEMPLAR = b' # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.5 1764000000.123'
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", type=Path, help="an exposition in the text format")
    options = parser.parse_args()
    body, protobuf = (options.body.read_bytes(), None) if options.body else real_bodies()
    samples = len(read_fast(body, Format.TEXT).readings.values)
    print(f"{samples} samples, {len(body)} bytes")
    lines = body.splitlines()
    timed = b"".join(line + (b"" if line.startswith(b"#") else TIME) + b"\n" for line in lines)
    marked = b"".join(
        line + (EXEMPLAR if number % 10 == 0 and not line.startswith(b"#") else b"") + b"\n"
        for number, line in enumerate(lines)
    )
    marked = marked.replace(b" untyped\n", b" unknown\n") + b"# EOF\n"

    cases: dict[str, Callable[[], object]] = {}
    for name, text, body_format in (
        ("", body, Format.TEXT),
        ("a time on every line, ", timed, Format.TEXT),
        ("exemplars on every tenth, ", marked, Format.OPENMETRICS),
    ):
        cases |= text_cases(name, text, body_format)
    cases["strict reader"] = lambda: parse_text(body)
    cases["a time on every line, strict reader"] = lambda: parse_text(timed)
    if protobuf is not None:
        cases |= protobuf_cases(protobuf)
    cases["prometheus_client"] = lambda: list(text_string_to_metric_families(body.decode()))
    for name, read in cases.items():
        print(f"{name:62} {best_s(read) / samples * 1e6:8.3f} us a sample")


def text_cases(name: str, body: bytes, body_format: Format) -> dict[str, Callable[[], object]]:
    template = read_fast(body, body_format).template()
    known = dict.fromkeys(read_fast(body, body_format).prefixes(), 0)

    def changed() -> list[int]:
        again = read_fast(body, body_format)
        again.metadata()
        return [known[prefix] for prefix in again.prefixes()]

    return {
        f"{name}same lines as last time": lambda: template.read(body),
        f"{name}lines changed, series known": changed,
    }


def protobuf_cases(body: bytes) -> dict[str, Callable[[], object]]:
    template = read_protobuf(body).template()
    return {
        "protobuf, same series as last time": lambda: template.read(body),
        "protobuf, changed, series known": lambda: read_protobuf(body).prefixes(),
    }


def read_fast(body: bytes, body_format: Format) -> Split:
    parts = split(body, body_format)
    if parts is None:
        raise SystemExit("the fast way does not read this body")
    return parts


def best_s(function: Callable[[], object]) -> float:
    """CPU seconds of one call: the best of several rounds."""
    timer = timeit.Timer(function, timer=time.process_time)
    calls = max(1, int(ROUND_S / timer.timeit(10) * 10))
    return min(timer.repeat(ROUNDS, calls)) / calls


def real_bodies() -> tuple[bytes, bytes | None]:
    """A host's metrics as text, and in protobuf where node_exporter serves them."""
    with running_node_exporter() as running:
        if not running:
            return MetricsPage(ExporterSettings().registry(), CollectorRegistry()).render("", "").body, None
        request = urllib.request.Request(f"http://127.0.0.1:{running.port}/metrics", headers={"Accept": PROTOBUF})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return fetch(running), answer.read()


if __name__ == "__main__":
    main()
