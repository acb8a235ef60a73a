"""Where the `fleetwatch` command starts, and where its errors end: one line on standard error and exit status 1."""

import sys

from common.errors import FleetwatchError

SERVER_PACKAGES = frozenset(
    ("alembic", "numpy", "orjson", "pcodec", "psycopg", "psycopg_pool", "sqlalchemy", "watchfiles")
)
"""What the extra `server` brings; an exporter's install does without."""


def main() -> None:
    """The console script."""
    try:
        # The exporter runs on every host: it does without the packages of the other commands' flags.
        if sys.argv[1:2] == ["exporter"]:
            from fleetwatch.exporter_cli import run

            run(sys.argv[2:])
        else:
            from fleetwatch.cli import app

            app()
    except FleetwatchError as error:
        sys.exit(f"fleetwatch: {error}")
    except ModuleNotFoundError as error:
        if error.name not in SERVER_PACKAGES:
            raise
        sys.exit(
            f"fleetwatch: the package {error.name} is missing, only the exporter is installed here: "
            "pip install 'fleetwatch[server]'"
        )
