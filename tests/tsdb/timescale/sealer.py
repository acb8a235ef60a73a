"""Seals whatever is due, until it is killed: `python -m tests.tsdb.timescale.sealer DSN NOW_MS`, a line for each."""

import sys

from tsdb.timescale.connections import Connections
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.sealing import Sealing


def main() -> None:
    dsn, now_ms = sys.argv[1], int(sys.argv[2])
    sealing = Sealing(Connections(dsn), Partitions(), delay_ms=0, settle_s=0)
    while True:
        for target in sealing.due(now_ms):
            sys.stdout.write(f"{target.target_id}\n")
            sys.stdout.flush()
            sealing.seal(target.target_id, target.before_ms)


if __name__ == "__main__":
    main()
