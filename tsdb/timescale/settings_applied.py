"""What of the config the database is told, each time a process starts: a changed config holds from then on.

On TimescaleDB's community edition the server drops and compresses by policies of its own. Elsewhere nothing is told,
and the maintenance of Fleetwatch drops what is too old; it does so on the community edition too, as the server's
policies know nothing of retention classes and sizes.
"""

from dataclasses import dataclass

import psycopg

from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.editions import Server
from tsdb.timescale.partitions import Partitions

LOGS_COMPRESSED_AFTER_MS = 24 * 3600 * 1000

_RETENTION = "SELECT fleetwatch_data.set_retention(%s, %s * interval '1 millisecond')"
_COLUMNSTORE = "SELECT fleetwatch_data.set_columnstore(%s, %s * interval '1 millisecond')"
_NARROW_THERE = "SELECT to_regclass('fleetwatch_data.sample') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is told. None means for ever."""

    samples_keep_ms: int | None
    """The longest of the retention classes."""
    logs_keep_ms: int | None
    rollups_keep_ms: int | None
    narrow: bool = False


def apply_settings(connection: psycopg.Connection, server: Server, settings: Settings) -> None:
    """Tell the database, in the caller's transaction; what is as it should be already is left alone."""
    Partitions().fit(connection)
    if server.edition != "community":
        return
    # One process at a time: they all start with the same config.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('fleetwatch_data.settings'))")
    if settings.narrow:
        connection.execute("SELECT fleetwatch_data.make_narrow()")
    keeps_ms = {
        # By the first time of each row, and the last may be as much later.
        "block": None if settings.samples_keep_ms is None else settings.samples_keep_ms + WINDOW_MS,
        "exemplars": settings.samples_keep_ms,
        "logs": settings.logs_keep_ms,
        "rollup": settings.rollups_keep_ms,
    }
    there = connection.execute(_NARROW_THERE).fetchone()
    if there is not None and there[0]:
        # Also where it is fed no more: what is in it goes with time.
        keeps_ms |= {
            "sample": settings.samples_keep_ms,
            "sample_5m": settings.rollups_keep_ms,
            "sample_1h": settings.rollups_keep_ms,
        }
    for relation, keep_ms in keeps_ms.items():
        connection.execute(_RETENTION, [relation, keep_ms])
    connection.execute(_COLUMNSTORE, ["logs", LOGS_COMPRESSED_AFTER_MS])
