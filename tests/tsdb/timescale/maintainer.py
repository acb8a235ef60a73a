"""A process that maintains a database until its input ends or it is killed.

`python -m tests.tsdb.timescale.maintainer DSN SETTLE_S` says after each round how many scrapes it has sealed, and how
many of its steps have failed. Its clock is the time of the newest scrape.
"""

import os
import sys
import threading

import psycopg

from tests.tsdb.timescale.sequence_writer import wait_for_end
from tsdb.timescale.connections import Connections, is_away
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.partitions import Partitions

_NEWEST_MS = "SELECT (extract(epoch FROM max(time)) * 1000)::int8 FROM fleetwatch_data.journal"


def main() -> None:
    """Maintain as often as can be; a database that is away is waited for."""
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    plan = Plan(sealing_delay_ms=0, settle_s=float(sys.argv[2]), rollup_after_ms=0)
    connections = Connections(sys.argv[1], size=2)
    maintenance = Maintenance(connections, Partitions(), plan)
    now_ms = 0
    while not ended.wait(0.05):
        try:
            with connections.transaction() as connection:
                (newest_ms,) = connection.execute(_NEWEST_MS).fetchall()[0]
            now_ms = max(now_ms, int(str(newest_ms or 0)))
            maintenance.run(now_ms)
        except psycopg.Error as error:
            if not is_away(error):
                raise
            ended.wait(0.2)
        figures = maintenance.figures()
        os.write(1, f"{figures['sealed_scrapes_total']:.0f} {figures['maintenance_failures_total']:.0f}\n".encode())


if __name__ == "__main__":
    main()
