"""Real PostgreSQL servers for tests, with and without TimescaleDB: started, crashed, restarted, followed by a standby.

Two kinds of server. `timescale` is the newest PostgreSQL here that has TimescaleDB: one that Debian 13 or later has
installed, or the one that `.ci/timescale` unpacked; Debian builds its Apache edition. `postgres` is Debian 12's
PostgreSQL 15 without it. Each server has a directory of its own, listens on a free port of 127.0.0.1, trusts its
superuser `postgres` and asks everybody else for a password. It ends with the test, or with the test run when that
is killed. The session's shared servers are fixtures in tests/databases.py.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal, LiteralString

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier
from psycopg.sql import Literal as SQLLiteral

from tests.components import missing
from tests.disks import mounted
from tests.fleetwatch_process import eventually

Kind = Literal["timescale", "postgres"]
StopMode = Literal["smart", "fast", "immediate"]

# Where an installation may be: the machine's own, and what .ci/timescale unpacks.
ROOTS = (Path("/"), Path("/var/cache/fleetwatch-timescale/root"))
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
START_TIMEOUT_S = 60

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "128MB",
    "max_worker_processes": "24",
    "max_locks_per_transaction": "256",
    "wal_keep_size": "128MB",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
TIMESCALE_SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "4",
}
HBA = """\
local all postgres trust
host all postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""

database_numbers = count(1)


def executables(kind: Kind) -> Path:
    """The folder with `postgres`, `pg_dump` and the others of a kind's version; skips or fails where there is none."""
    if kind == "postgres":
        folder = Path("/usr/lib/postgresql/15/bin")
        if not (folder / "postgres").exists():
            missing("no PostgreSQL 15: apt-get install postgresql-15")
        return folder
    controls = [
        control
        for root in ROOTS
        for control in sorted(root.glob("usr/share/postgresql/*/extension/timescaledb.control"), reverse=True)
    ]
    if not controls:
        missing("no TimescaleDB: run .ci/timescale as root, or on Debian 13 apt-get install postgresql-17-timescaledb")
    *_, version, _, _ = controls[0].parts
    return controls[0].parents[4] / "lib/postgresql" / version / "bin"


class PostgresServer:
    """One server in a directory of its own, which the account that it runs as then owns.

    PostgreSQL refuses to run as root: started by root it runs as `nobody`, else as the calling user.
    """

    def __init__(self, kind: Kind, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.directory = directory
        self.data = directory / "data"
        self.bin = executables(kind)
        self.port = _free_port()
        self.settings = SETTINGS | (TIMESCALE_SETTINGS if kind == "timescale" else {}) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody", pwd.getpwnam("nobody").pw_gid)

    # Life and death

    def create(self) -> None:
        """Make the database cluster."""
        encoding = ["--encoding=UTF8", "--locale=C.UTF-8"]
        self._run("initdb", "-D", str(self.data), "--username=postgres", "--auth=trust", "--no-sync", *encoding)
        (self.data / "pg_hba.conf").write_text(HBA)
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self.settings.items())

    def start(self) -> None:
        """Start, recover if there was a crash, and wait until connections are accepted."""
        self._forget()
        own = [f"--port={self.port}", f"--unix_socket_directories={self.directory}"]
        with (self.directory / "log").open("ab") as log:
            command = [str(self.bin / "postgres"), "-D", str(self.data), *own]
            self._process = process = self._popen(command, stdout=log, stderr=log)
        # Reads until this process ends, also by SIGKILL, and then takes the server along.
        watch = 'cat; kill -QUIT "$0"; while kill -0 "$0"; do sleep 0.1; done; rm -rf "$1"'
        watcher = ["sh", "-c", watch, str(process.pid), str(self.directory)]
        self._watcher = self._popen(watcher, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        eventually(lambda: self._status(process), lambda status: status != "starting", START_TIMEOUT_S, self.log)
        if process.poll() is not None:
            raise RuntimeError(f"{self.kind} did not start:\n{self.log()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Shut down as `pg_ctl stop -m MODE` does. A stopped server stays stopped."""
        self._end(SIGNALS[mode])

    def restart(self, mode: StopMode = "immediate") -> None:
        """Stop and start; `immediate` leaves a recovery to be done."""
        self.stop(mode)
        self.start()

    def kill9(self) -> None:
        """SIGKILL every process of the server at once, as the kernel does when memory is short. `start` recovers."""
        self._end(signal.SIGKILL)

    def processes(self) -> list[psutil.Process]:
        """The server's processes, the postmaster first. None when it is stopped."""
        if self._process is None or self._process.poll() is not None:
            return []
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def log(self) -> str:
        """All that the server has logged."""
        return (self.directory / "log").read_text()

    # SQL

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """The connection string of a database."""
        secret = "" if password is None else f":{password}"
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def sql(
        self, statement: LiteralString | Composed, parameters: Sequence[Any] = (), dsn: str | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement that the superuser runs on a connection of its own, outside of a transaction."""
        with psycopg.connect(dsn or self.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str | None = None) -> str:
        """The superuser's DSN of a new database: empty, or a copy of another one, whose connections it drops."""
        name = f"test_{next(database_numbers)}"
        create = SQL("CREATE DATABASE {} TEMPLATE {}")
        # The source must have no connection. TimescaleDB's launcher starts a scheduler in every database that it may
        # connect to, template1 too, and again while one is copied.
        if template is None:
            self.sql(create.format(Identifier(name), Identifier("template0")))
            return self.dsn(name)
        source = _database(template)
        allow_connections = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self.sql(allow_connections.format(Identifier(source), SQL("false")))
        self.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [source])
        self.sql(create.format(Identifier(name), Identifier(source)))
        self.sql(allow_connections.format(Identifier(source), SQL("true")))
        return self.dsn(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database and the connections to it."""
        self.sql(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(_database(dsn))))

    def drop_connections(self) -> None:
        """End the connection of every client."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def configure(self, **settings: str) -> None:
        """Change settings in the running server and wait until it has read them (some take a restart on top)."""
        for name, value in settings.items():
            self.sql(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), SQLLiteral(value)))
        before = self.sql("SELECT pg_conf_load_time(), pg_reload_conf()")[0][0]
        eventually(lambda: self.sql("SELECT pg_conf_load_time()")[0][0], lambda at: at > before, START_TIMEOUT_S)

    # Replication

    @contextlib.contextmanager
    def standby(self) -> Iterator["PostgresServer"]:
        """A second server that streams from this one, as application `standby`; readable, and `promote` frees it."""
        with _directory() as directory:
            standby = PostgresServer(self.kind, directory, self.settings)
            source = f"{self.dsn()}?application_name=standby"
            standby._run("pg_basebackup", "-D", str(standby.data), "-R", "--checkpoint=fast", "--no-sync", "-d", source)
            with standby._started():
                yield standby

    def promote(self) -> None:
        """End the standby's recovery: from now on it takes writes."""
        if not self.sql("SELECT pg_promote(true, %s)", [START_TIMEOUT_S])[0][0]:
            raise RuntimeError(f"not promoted:\n{self.log()}")

    # The processes

    @contextlib.contextmanager
    def _started(self) -> Iterator[None]:
        try:
            self.start()
            yield
        finally:
            self.stop("immediate")

    def _status(self, process: subprocess.Popen[bytes]) -> Literal["starting", "ready", "ended"]:
        if process.poll() is not None:
            return "ended"
        with contextlib.suppress(FileNotFoundError):
            # pid, directory, start time, port, socket directory, address, shared memory, status
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if len(lines) == 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return "ready"
        return "starting"

    def _end(self, signal_number: signal.Signals) -> None:
        if signal_number == signal.SIGKILL and self._process is not None:
            self._process.send_signal(signal.SIGSTOP)  # or it makes a child that is not in the list
        processes = self.processes()
        for process in processes if signal_number == signal.SIGKILL else processes[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
        if self._process is not None:
            self._process.wait(START_TIMEOUT_S)
        eventually(lambda: list(filter(alive, processes)), lambda left: not left, START_TIMEOUT_S)
        self._forget()

    def _forget(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
        self._process = self._watcher = None

    def _popen(self, command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        return subprocess.Popen(command, cwd=self.directory, start_new_session=True, **account, **streams)

    def _run(self, name: str, *arguments: str) -> None:
        process = self._popen([str(self.bin / name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.communicate(timeout=START_TIMEOUT_S)[0]
        if process.returncode:
            raise RuntimeError(f"{name} failed:\n{output.decode()}")


def alive(process: psutil.Process) -> bool:
    """Whether a process still does something: one that was orphaned and ended may wait long for its new parent."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def running(kind: Kind, settings: Mapping[str, str] | None = None, disk: str | None = None) -> Iterator[PostgresServer]:
    """A server of the test's own.

    With `disk`, a size such as 200m, its directory is a file system of that size, which a test can fill.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_directory())
        if disk is not None:
            directory.chmod(0o755)
            directory = stack.enter_context(mounted(directory / "disk", f"size={disk}"))
        server = PostgresServer(kind, directory, settings)
        server.create()
        stack.enter_context(server._started())
        yield server


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A temporary directory that another account may own: pytest's own are in one that only the user may enter."""
    with tempfile.TemporaryDirectory(prefix="fleetwatch-postgres-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _database(dsn: str) -> str:
    """The name of a DSN's database."""
    return str(conninfo_to_dict(dsn)["dbname"])


def _free_port() -> int:
    """A free port below those that the kernel gives to clients: it stays free while the server is down."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
