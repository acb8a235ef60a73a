"""Deletes in the file: made, undone, and in the end carried out.

A delete is a row of `tombstones`. Once it is doomed, which cannot be undone, whatever makes a block leaves its samples
out, the blocks from before are rewritten, and the row goes when no journal row is left that has some of them. Until
then readers hide them: a crash at any moment changes nothing that can be read.
"""

from tsdb.embedded import tombstone_rows
from tsdb.embedded.blocks import read_header
from tsdb.embedded.database import Database
from tsdb.embedded.rollups import making as rollup_making
from tsdb.embedded.sealing import Sealing
from tsdb.embedded.writer import Writer
from tsdb.tombstones import Deletion, Tombstone, Tombstones


class Deletes:
    """Carries out the deletes of a store. `doom` and `purge` are maintenance: one call at a time."""

    def __init__(self, database: Database, writer: Writer, tombstones: Tombstones, sealing: Sealing) -> None:
        self._database = database
        self._writer = writer
        self._tombstones = tombstones
        self._sealing = sealing
        # Doomed ones of which no block has samples any more.
        self._rewritten: set[int] = set()

    def add(self, tombstone: Tombstone) -> Deletion:
        """Hide the samples of a tombstone, which gets its number here: at once, and from this commit on."""

        def shown(deletion_id: int) -> None:
            made.append(tombstone.numbered(deletion_id))
            self._tombstones.put(made[0])

        made: list[Tombstone] = []
        self._writer.step(lambda connection: tombstone_rows.insert(connection, tombstone), shown)
        return made[0].deletion

    def undo(self, deletion_id: int) -> bool:
        """Show the samples again; False where there is no such delete, or it is doomed."""

        def shown(undone: bool) -> None:
            if undone:
                self._tombstones.remove(deletion_id)

        return self._writer.step(lambda connection: tombstone_rows.undo(connection, deletion_id), shown)

    def doom(self, expired_at_ms: int) -> None:
        """Say that the deletes whose time to be undone ended at a time, or before, are to be carried out."""
        for tombstone in self._tombstones.active():
            if 0 < tombstone.deletion.expires_ms <= expired_at_ms:
                self._doom(tombstone)

    def purge(self) -> None:
        """Remove the samples of doomed deletes from blocks, and such deletes as nothing is left of."""
        for tombstone in self._tombstones.doomed():
            if tombstone.deletion.deletion_id not in self._rewritten:
                for block_id in self._touched(tombstone):
                    self._sealing.rewrite(block_id)
                self._rewritten.add(tombstone.deletion.deletion_id)
        with self._database.reader() as connection:
            (oldest_seq,) = connection.execute("SELECT min(seq) FROM journal").fetchone()
        for tombstone in self._tombstones.doomed():
            if oldest_seq is None or oldest_seq > tombstone.upto_seq:
                self._forget(tombstone)

    def _doom(self, tombstone: Tombstone) -> None:
        number = tombstone.deletion.deletion_id

        def known(doomed: bool) -> None:
            if doomed:
                self._tombstones.put(tombstone.doomed())

        self._writer.step(lambda connection: tombstone_rows.doom(connection, number), known)

    def _touched(self, tombstone: Tombstone) -> list[int]:
        """The blocks that have hidden places."""
        deletion, touched = tombstone.deletion, []
        with self._database.reader() as connection:
            found = connection.execute(
                "SELECT block_id FROM blocks WHERE end_ms >= ? AND start_ms <= ?", (deletion.start_ms, deletion.end_ms)
            )
            for (block_id,) in found.fetchall():
                header = read_header(connection, block_id)
                if tombstone.touches(header.times_ms, header.seqs, header.series_ids):
                    touched.append(block_id)
        return touched

    def _forget(self, tombstone: Tombstone) -> None:
        deletion = tombstone.deletion

        # As long as the row is there, nobody reads roll-ups of that time, nor makes them.
        rollup_making.erase(self._database, self._writer, tombstone.series_ids, deletion.start_ms, deletion.end_ms)
        self._writer.step(
            lambda connection: tombstone_rows.delete(connection, deletion.deletion_id),
            lambda _: self._tombstones.remove(deletion.deletion_id),
        )
        self._rewritten.discard(deletion.deletion_id)
