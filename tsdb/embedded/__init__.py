"""The embedded store: one directory, one SQLite file, no server.

database          the directory, its lock, connections; what a failed write says
migrations        schema version, older files brought up to date
checkpoints       the WAL into the file, in a thread of its own
writer            the writer thread's transactions and small steps
codec             vectors as bytes
codec_matrix      the samples of a block as bytes; codec_directory says what is where in them, codec_numbers,
                  codec_residuals and codec_references make them small
catalog_rows      series, layouts, targets and servers: numbers in memory to rows and back
exemplar_rows     the same for exemplars
journal           one row per batch: written in group commits, replayed on start
blocks            up to 1024 series of a target over a window; chunk_cache has what was decoded lately
sealing           samples from head and journal into blocks, small blocks into larger ones
retention         what leaves: journal rows, old blocks, series without samples, free pages
logs              log entries and their full-text search
store             EmbeddedStore, which puts them together and does the maintenance
backup, checks, exports, imports, inspection, status, vacuum: what `fleetwatch db` does
"""

from tsdb.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
