"""PostgreSQL's own programs: pg_dump and pg_restore of a version that fits, run with the password out of sight."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tsdb.dsn import shown_dsn
from tsdb.errors import StoreError

# Where Debian has one of each version, beside the wrapper on PATH.
_DEBIAN = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_LOOKS_EVERY_S = 0.2
_SAID_LINES = 5


class ProgramError(StoreError):
    """A program of PostgreSQL is missing, too old, or failed; says what it said."""


def find_program(name: str, server_version: int) -> str:
    """The path of a program that is as new as a server, of those the oldest. Raises ProgramError."""
    found: dict[int, str] = {}
    for path in filter(None, (shutil.which(name), *map(str, _DEBIAN.glob(f"*/bin/{name}")))):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if (version := _VERSION.search(said)) is not None:
            found.setdefault(int(version[1]), path)
    if not found:
        raise ProgramError(f"{name} is not on PATH: install the client programs of PostgreSQL {server_version}")
    fitting = [version for version in found if version >= server_version]
    if not fitting:
        raise ProgramError(
            f"{name} is of PostgreSQL {max(found)}, the server is {server_version}: install the client programs of "
            f"PostgreSQL {server_version} and put them on PATH"
        )
    return found[min(fitting)]


def run_program(command: Sequence[str], dsn: str, look: Callable[[], None]) -> None:
    """Run a program on a database to its end; `look` is called now and then. Raises ProgramError."""
    password = conninfo_to_dict(dsn).get("password")
    environment = os.environ | ({} if password is None else {"PGPASSWORD": str(password)})
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            [*command, f"--dbname={shown_dsn(dsn)}"],
            env=environment,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
        ) as process:
            try:
                while process.poll() is None:
                    look()
                    time.sleep(_LOOKS_EVERY_S)
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            said.seek(0)
            last = "; ".join([line.strip() for line in said.read().splitlines() if line.strip()][-_SAID_LINES:])
            raise ProgramError(f"{Path(command[0]).name} ended with status {process.returncode}: {last}")
