"""Small file systems of a test's own: mounted, filled, unmounted. Takes root; skips where that is not given."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.components import missing


@contextlib.contextmanager
def mounted(directory: Path, *options: str) -> Iterator[Path]:
    """A tmpfs on a new directory, mounted with options such as `size=3m` or `ro`."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"cannot mount a tmpfs, which takes root: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(ballast).free == 0
