"""Microseconds to read one sample: the fast way, the strict reader, and prometheus_client's.

    python -m benchmarks.exposition [--body FILE]

The body is node_exporter's of this host where that is installed, else the one of Fleetwatch's own exporter. CPU
time, best of several rounds.
"""

import argparse
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.exporter import fetch, running_node_exporter
from exporter.app import MetricsPage
from exporter.settings import ExporterSettings
from exposition.fast import split
from exposition.formats import Format
from exposition.text import parse_text

ROUNDS = 7
ROUND_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", type=Path, help="an exposition in the text format")
    options = parser.parse_args()
    body = options.body.read_bytes() if options.body else real_body()
    parts = split(body, Format.TEXT)
    if parts is None:
        raise SystemExit("the fast way does not read this body")
    samples = len(parts.values)
    print(f"{samples} samples, {len(body)} bytes")

    known = dict.fromkeys(parts.prefixes(), 0)
    skeleton = parts.skeleton

    def fast_repeat() -> bool:
        again = split(body, Format.TEXT)
        return again is not None and again.skeleton == skeleton

    def fast_changed() -> list[int]:
        again = split(body, Format.TEXT)
        if again is None:
            return []
        again.metadata()
        return [known[prefix] for prefix in again.prefixes()]

    def prometheus_client() -> int:
        return sum(len(family.samples) for family in text_string_to_metric_families(body.decode()))

    cases: dict[str, Callable[[], object]] = {
        "fast, same lines as last time": fast_repeat,
        "fast, lines changed, series known": fast_changed,
        "strict reader": lambda: parse_text(body),
        "prometheus_client": prometheus_client,
    }
    for name, read in cases.items():
        print(f"{name:36} {best_s(read) / samples * 1e6:8.3f} us a sample")


def best_s(function: Callable[[], object]) -> float:
    """CPU seconds of one call: the best of several rounds."""
    timer = timeit.Timer(function, timer=time.process_time)
    calls = max(1, int(ROUND_S / timer.timeit(10) * 10))
    return min(timer.repeat(ROUNDS, calls)) / calls


def real_body() -> bytes:
    with running_node_exporter() as running:
        return (
            fetch(running)
            if running
            else MetricsPage(ExporterSettings().registry(), CollectorRegistry()).render("", "").body
        )


if __name__ == "__main__":
    main()
