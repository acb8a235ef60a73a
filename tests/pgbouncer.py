"""PgBouncer in front of a PostgreSQL server, in transaction mode."""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.components import require
from tests.fleetwatch_process import eventually, free_port
from tests.postgres import PostgresServer

CONFIG = """\
[databases]
* = host=127.0.0.1 port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@contextlib.contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[int]:
    """The port on which a PgBouncer listens that knows all databases of a server; it logs in as superuser."""
    program = str(require("pgbouncer"))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fleetwatch-pgbouncer-") as directory:
        config = Path(directory) / "pgbouncer.ini"
        config.write_text(CONFIG.format(server_port=server.port, port=port))
        Path(directory).chmod(0o755)
        # It refuses to run as root.
        command = [program, *(["--user=nobody"] if os.geteuid() == 0 else []), str(config)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: _listens(port) or process.poll() is not None, bool, 10)
                assert process.poll() is None, "pgbouncer did not start"
                yield port
            finally:
                process.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
