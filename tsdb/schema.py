"""The tables of the embedded store, and those a store on PostgreSQL shares with it.

Declared with SQLAlchemy Core for one description of both; the statements of the hot path are plain SQL on the
driver. A change that an older program cannot read raises tsdb.embedded.database.SCHEMA_VERSION.

Arrays in binary columns are encoded as tsdb.embedded.codec says.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

metadata = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A primary key that SQLite takes for its rowid."""

_UUID = Uuid().with_variant(LargeBinary(16), "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

series = Table(
    "series",
    metadata,
    Column("series_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("labels", Text, nullable=False, comment="JSON object, names sorted"),
)

targets = Table(
    "targets",
    metadata,
    Column("target_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("labels", Text, nullable=False, comment="JSON object, names sorted"),
)

layouts = Table(
    "layouts",
    metadata,
    Column("layout_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("series_ids", LargeBinary, nullable=False, comment="int64[N]"),
)

journal = Table(
    "journal",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False, comment="rises from write to write"),
    Column("target_id", BigInteger, nullable=False),
    Column("layout_id", BigInteger, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("samples", LargeBinary, nullable=False, comment="float64[N] in the order of the layout"),
    Column("times_ms", LargeBinary, comment="int64[N] where samples bring times of their own"),
)

blocks = Table(
    "blocks",
    metadata,
    Column("block_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("target_id", BigInteger, nullable=False),
    Column("layout_id", BigInteger, nullable=False, comment="the series of the block, N of them"),
    Column("start_ms", BigInteger, nullable=False, comment="first time"),
    Column("end_ms", BigInteger, nullable=False, comment="last time"),
    Column("last_seq", BigInteger, nullable=False, comment="greatest of seqs"),
    Column("times_ms", LargeBinary, nullable=False, comment="int64[T], strictly rising"),
    Column("seqs", LargeBinary, nullable=False, comment="int64[T], the write each time came from"),
    Column("constants", LargeBinary, nullable=False, comment="float64[N], ABSENT where there is a chunk"),
    Index("blocks_by_target", "target_id", "end_ms"),
    Index("blocks_by_end", "end_ms"),
)

sealings = Table(
    "sealings",
    metadata,
    Column("target_id", _NUMBER, primary_key=True, autoincrement=False),
    # Journal rows of the target that lie wholly before the time and are numbered up to seq are in blocks.
    Column("before_ms", BigInteger, nullable=False),
    Column("upto_seq", BigInteger, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    # One number instead of a pair: SQLite appends rising rowids to full pages, and keeps larger rows in the page.
    Column("chunk_id", _NUMBER, primary_key=True, autoincrement=False, comment="block_id << 20 | position"),
    Column("samples", LargeBinary, nullable=False, comment="float64[T] of one series of the block"),
)

servers = Table(
    "servers",
    metadata,
    Column("server_id", _UUID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("labels", Text, nullable=False, comment="JSON object"),
)

logs = Table(
    "logs",
    metadata,
    Column("log_id", _NUMBER, primary_key=True),
    Column("entry_id", _UUID, nullable=False, unique=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("server_id", _UUID, nullable=False),
    Column("log_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("fields", Text, nullable=False, comment="JSON object"),
    Index("logs_by_time", "time_ns"),
)

# Full-text search over the messages, kept in step by triggers (https://www.sqlite.org/fts5.html section 4.4.3).
# Diacritics stay, so that words are what tsdb.logwords says.
_SQLITE_TEXT_SEARCH = (
    """
    CREATE VIRTUAL TABLE logs_text USING fts5(
        message, content='logs', content_rowid='log_id', tokenize='unicode61 remove_diacritics 0'
    )
    """,
    """
    CREATE TRIGGER logs_inserted AFTER INSERT ON logs BEGIN
        INSERT INTO logs_text (rowid, message) VALUES (new.log_id, new.message);
    END
    """,
    """
    CREATE TRIGGER logs_deleted AFTER DELETE ON logs BEGIN
        INSERT INTO logs_text (logs_text, rowid, message) VALUES ('delete', old.log_id, old.message);
    END
    """,
)


def sqlite_statements() -> list[str]:
    """What makes the tables in an empty SQLite file."""
    dialect = sqlite.dialect()
    statements = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    return [*statements, *_SQLITE_TEXT_SEARCH]
