"""A mount that really hangs in the kernel costs its own metrics, and once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exposition.text import parse_text
from tests.exporter import hung_mount
from tests.exporter.hung_mount import SCRAPES, TIMEOUT_MS

REPOSITORY = Path(__file__).parents[2]
# The first scrape waits for the timeout, the others for nothing; a busy machine may take its time.
SLACK_S = 0.5


def collect_beside_a_hung_mount(directory: Path) -> dict[str, list[float]]:
    """What hung_mount reports. In a mount namespace of its own, nothing of it is left behind."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no file system can be made to hang here: {error}")
    probe = run(["true"])
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace can be made here: {probe.stderr.strip()}")
    done = run([sys.executable, "-m", hung_mount.__name__, str(directory)])
    assert done.returncode == 0, done.stderr
    report: dict[str, list[float]] = json.loads(done.stdout)
    return report


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--user", "--map-root-user", "--mount", *command]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_a_mount_that_hangs_in_the_kernel(tmp_path: Path) -> None:
    report = collect_beside_a_hung_mount(tmp_path)
    bodies = [parse_text(str(body).encode()) for body in report["bodies"]]

    assert len(bodies) == SCRAPES
    for body in bodies:
        found = {str(sample.labels): sample.value for sample in body.samples}
        dead = f'device="silent", device_error="mountpoint timeout", fstype="fuse", mountpoint="{tmp_path}/dead"'
        well = f'device="/dev/sda1", fstype="ext4", mountpoint="{tmp_path}/well"'
        assert found[f"node_filesystem_device_error{{{dead}}}"] == 1
        assert found[f"node_filesystem_size_bytes{{{well}}}"] > 0
        assert not [series for series in found if "size_bytes" in series and "dead" in series]
    first_s, *others_s = report["durations_s"]
    assert TIMEOUT_MS / 1000 <= first_s < TIMEOUT_MS / 1000 + SLACK_S
    # Asked again, it would hang again each time.
    assert sum(others_s) < SLACK_S
    assert len(set(report["threads"])) == 1
    assert len(set(report["files"])) == 1
