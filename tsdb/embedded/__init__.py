"""The embedded store: one directory, one SQLite file, no server.

database          the directory, its lock, connections; what a failed write says
migrations        schema version, older files brought up to date
checkpoints       the WAL into the file, in a thread of its own
writer            the writer thread's transactions and small steps
codec/            columns as bytes
catalog_rows      series, layouts, targets and servers: numbers in memory to rows and back; series_rows has the groups
                  of label sets, regrouping joins small ones
exemplar_rows, tombstone_rows, usage_rows: the same for exemplars, deletes and the counts of reads
journal           one row per batch: written in group commits, replayed on start
blocks            up to 1024 series of a target over a window; chunk_cache has what was decoded lately
sealing           samples from head and journal into blocks, small blocks into larger ones
rollups/          roll-ups of what is old
deletes           what was deleted, taken out of the file
retention         what leaves: journal rows, old blocks, series without samples, free pages; retention_classes says
                  which samples leave when, disk_watch what a full disk calls for
logs              log entries and their full-text search
maintenance       the periodic work, and the order of it
store             EmbeddedStore, which puts them together
tools/            what is done with a store as a whole: fleetwatch db
"""

from tsdb.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
