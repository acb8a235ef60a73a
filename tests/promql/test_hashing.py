"""The hash that chooses series: against the published vectors of XXH64, and against what Prometheus chooses."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from common.labels import Labels
from promql.hashing import hash_labels, xxh64
from tests.components import require


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"as", 0x1C330FB2D66BE179),
        (b"asd", 0x631C37CE72A97393),
        (b"asdf", 0x415872F599CEA71E),
        (b"Call me Ishmael. Some years ago--never mind how long precisely-", 0x2A2E85470D6FD96),
    ],
)
def test_published_hashes(data: bytes, digest: int) -> None:
    assert xxh64(data) == digest


def test_prometheus_samples_the_same_series(tmp_path: Path) -> None:
    promtool = require("promtool")
    version = subprocess.run([promtool, "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < (3, 5):
        pytest.skip("older ones have no limit_ratio, or hash otherwise")
    # Values of more than 254 bytes are written with a longer size.
    labels = [{"__name__": "x_total", "n": str(n), "host": "h" * (3 * n)} for n in range(100)]
    series = [{"series": str(Labels.of(pairs)), "values": "1"} for pairs in labels]
    expectation = {"expr": "limit_ratio(0.5, x_total)", "eval_time": "0s", "exp_samples": []}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [expectation]}
    (tmp_path / "test.yml").write_text(json.dumps({"tests": [test]}))
    command = [str(promtool), "--enable-feature=promql-experimental-functions", "test", "rules", "test.yml"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stderr
    chosen = {int(number) for number in re.findall(r'n="(\d+)"', output)}
    assert 30 < len(chosen) < 70
    assert {int(pairs["n"]) for pairs in labels if hash_labels(Labels.of(pairs)) < 2**63} == chosen
