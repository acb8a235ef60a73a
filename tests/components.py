"""Real components that tests use: where they are, and what happens where they are missing.

A missing component skips the test with its reason; with FLEETWATCH_TEST_REQUIRE=all it fails instead, so that CI
cannot pass by skipping.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# component -> (executable names, Debian package)
COMPONENTS = {
    "prometheus": (["prometheus"], "prometheus"),
    "promtool": (["promtool"], "prometheus"),
    "node_exporter": (["prometheus-node-exporter", "node_exporter"], "prometheus-node-exporter"),
    "chromium": (["chromium"], "chromium"),
    "openssl": (["openssl"], "openssl"),
    "systemd-analyze": (["systemd-analyze"], "systemd"),
    "strace": (["strace"], "strace"),
    "pgbouncer": (["pgbouncer", "/usr/sbin/pgbouncer"], "pgbouncer"),
}


def require(name: str) -> Path:
    """The executable of a component; skips or fails the test where there is none."""
    executables, package = COMPONENTS[name]
    found = next(filter(None, map(shutil.which, executables)), None)
    if found is None:
        missing(f"{name} is not installed: apt-get install {package}")
    return Path(found)


def missing(reason: str) -> NoReturn:
    """Skip the running test, or fail it where all components are required."""
    if os.environ.get("FLEETWATCH_TEST_REQUIRE") == "all":
        pytest.fail(reason)
    pytest.skip(reason)
