"""A file system that hangs, in a process of its own: a FUSE mount whose server never says a word.

Run as `python -m tests.exporter.hung_mount DIRECTORY` in a mount namespace that ends with the process, it collects the
file systems a few times with that mount among them, and writes what that took and gave as JSON.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from common.yamlfile import Duration
from exporter.collectors.filesystem import FilesystemCollector, FilesystemOptions
from exporter.roots import Roots
from exposition.formats import Format
from exposition.writer import write

TIMEOUT_MS = 100
SCRAPES = 20


@contextlib.contextmanager
def silent_fuse(directory: Path) -> Iterator[None]:
    """Mount a FUSE file system there that does not even answer INIT: all that touch it wait. Raises OSError."""
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"silent", os.fsencode(directory), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount of {directory}: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        # Nobody serves the mount any more: those who wait get an error.
        os.close(fuse)


def main(directory: Path) -> None:
    dead, well = directory / "dead", directory / "well"
    dead.mkdir()
    well.mkdir()
    (directory / "1").mkdir()
    (directory / "1/mountinfo").write_text(
        f"1 0 0:50 / {dead} rw - fuse silent rw\n2 0 8:1 / {well} rw - ext4 /dev/sda1 rw\n"
    )
    options = FilesystemOptions(mount_points_exclude="", mount_timeout=Duration(TIMEOUT_MS))
    collector = FilesystemCollector(Roots(procfs=directory), options)
    bodies, durations_s, threads, files = [], [], [], []
    with silent_fuse(dead):
        for _ in range(SCRAPES):
            start = time.monotonic()
            bodies.append(write(collector.collect(), Format.TEXT).decode())
            durations_s.append(time.monotonic() - start)
            threads.append(threading.active_count())
            files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    report = {"bodies": bodies, "durations_s": durations_s, "threads": threads, "files": files}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
