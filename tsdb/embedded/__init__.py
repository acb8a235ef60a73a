"""The embedded store: one directory, one SQLite file, no server.

database      the directory, its lock, the schema version; connections; what a failed write says
codec         vectors as bytes
catalog_rows  series, layouts, targets and servers: numbers in memory to rows and back
journal       one row per batch: written in group commits, replayed on start
blocks        sealed windows: one row per target and window, one chunk per changing series
logs          log entries and their full-text search
store         EmbeddedStore, which puts them together and does the maintenance
"""

from tsdb.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
