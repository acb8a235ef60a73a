"""The tables of the embedded store, and those a store on PostgreSQL shares with it.

Declared with SQLAlchemy Core for one description of both; the statements of the hot path are plain SQL on the
driver. A change that an older program cannot read raises tsdb.embedded.migrations.SCHEMA_VERSION, and comes with a
migration there.

Arrays in binary columns are encoded as tsdb.embedded.codec.vectors says.
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid
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
    # A row for each group of series: those made together have most of their labels in common.
    Column("first_id", _NUMBER, primary_key=True, autoincrement=False, comment="least of the ids, never used again"),
    Column("series", Integer, nullable=False, comment="how many; their ids are below the next group's"),
    Column("labels", LargeBinary, nullable=False, comment="ids, first targets and label sets: see codec.series"),
)

series_sharing = Table(
    "series_sharing",
    metadata,
    Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "target_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="a further target that held it, or the first, told later",
    ),
    sqlite_with_rowid=False,
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

sealings = Table(
    "sealings",
    metadata,
    Column("target_id", _NUMBER, primary_key=True, autoincrement=False),
    # Journal rows of the target that lie wholly before the time and are numbered up to seq are in blocks.
    Column("before_ms", BigInteger, nullable=False),
    Column("upto_seq", BigInteger, nullable=False),
)

blocks = Table(
    "blocks",
    metadata,
    Column("block_id", _NUMBER, primary_key=True, comment="never used again: caches go by it"),
    Column("target_id", BigInteger, nullable=False),
    Column("level", Integer, nullable=False, comment="which of the spans it was made for, 0 is the shortest"),
    Column("start_ms", BigInteger, nullable=False, comment="first time"),
    Column("end_ms", BigInteger, nullable=False, comment="last time"),
    Column("last_seq", BigInteger, nullable=False, comment="greatest of seqs"),
    Column("times_ms", LargeBinary, nullable=False, comment="int64[T], strictly rising"),
    Column("seqs", LargeBinary, nullable=False, comment="int64[T], the write each time came from"),
    Column("series_ids", LargeBinary, nullable=False, comment="int64[N], N <= 1024; -1 where one was removed"),
    Column("constants", LargeBinary, nullable=False, comment="the directory of the chunks, with what did not change"),
    Column("keep_ms", BigInteger, nullable=False, comment="how long it is kept; 0: as long as the store says"),
    Index("blocks_by_target", "target_id", "end_ms", "start_ms"),
    Index("blocks_by_end", "end_ms"),
    Index("blocks_by_keep", "keep_ms", "end_ms"),
    Index("blocks_by_level", "level", "target_id", "start_ms"),
    sqlite_autoincrement=True,
)

chunks = Table(
    "chunks",
    metadata,
    # One number instead of a pair: SQLite appends rising rowids to full pages, and keeps larger rows in the page.
    Column("chunk_id", _NUMBER, primary_key=True, autoincrement=False, comment="block_id << 10 | number in the block"),
    Column("samples", LargeBinary, nullable=False, comment="a cut of the packed samples, see codec.matrix"),
)

unlinked = Table(
    "unlinked",
    metadata,
    Column("block_id", _NUMBER, primary_key=True, autoincrement=False, comment="not in blocks; may have chunks"),
)

exemplars = Table(
    "exemplars",
    metadata,
    Column("exemplar_id", _NUMBER, primary_key=True, comment="in the order of arrival"),
    Column("series_id", BigInteger, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("value", Double, comment="NULL stands for NaN"),
    Column("labels", Text, nullable=False, comment="JSON object"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("tombstone_id", _NUMBER, primary_key=True),
    Column("matchers", Text, nullable=False, comment="JSON: of each selector its [name, operator, value]"),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("upto_seq", BigInteger, nullable=False, comment="later writes are not deleted"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, comment="of the time to undo it; 0: samples are being removed"),
    Column("series", BigInteger, nullable=False, comment="that had samples when it was made"),
    Column("samples", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

rollup_days = Table(
    "rollup_days",
    metadata,
    Column("day_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("target_id", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False, comment="of the day; its samples are later, up to its end"),
    Column("first_ms", BigInteger, nullable=False, comment="first time"),
    Column("last_ms", BigInteger, nullable=False, comment="last time"),
    Column("block_ids", Text, nullable=False, comment="JSON array: the blocks it was made of"),
    Column("series_ids", LargeBinary, nullable=False, comment="int64[N]; -1 where one was removed"),
    Index("rollup_days_by_target", "target_id", "start_ms", unique=True),
    Index("rollup_days_by_start", "start_ms"),
)

rollups = Table(
    "rollups",
    metadata,
    Column("rollup_id", _NUMBER, primary_key=True, autoincrement=False, comment="day_id << 13 | resolution, part"),
    Column("directory", LargeBinary, nullable=False, comment="of the matrix, see rollup_rows"),
    Column("samples", LargeBinary, nullable=False, comment="its chunks, joined"),
)

rollups_unlinked = Table(
    "rollups_unlinked",
    metadata,
    Column("day_id", _NUMBER, primary_key=True, autoincrement=False, comment="not in rollup_days; may have rollups"),
)

metric_reads = Table(
    "metric_reads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("reads", BigInteger, nullable=False),
    Column("last_read_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
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
_SQLITE_TEXT_SEARCH = {
    "logs_text": """
    CREATE VIRTUAL TABLE logs_text USING fts5(
        message, content='logs', content_rowid='log_id', tokenize='unicode61 remove_diacritics 0'
    )
    """,
    "logs_inserted": """
    CREATE TRIGGER logs_inserted AFTER INSERT ON logs BEGIN
        INSERT INTO logs_text (rowid, message) VALUES (new.log_id, new.message);
    END
    """,
    "logs_deleted": """
    CREATE TRIGGER logs_deleted AFTER DELETE ON logs BEGIN
        INSERT INTO logs_text (logs_text, rowid, message) VALUES ('delete', old.log_id, old.message);
    END
    """,
}


def sqlite_statements() -> list[tuple[str, str]]:
    """What makes the tables in an SQLite file: (name, statement), in an order that works in an empty one."""
    dialect = sqlite.dialect()
    statements = []
    for table in metadata.sorted_tables:
        statements.append((table.name, str(CreateTable(table).compile(dialect=dialect))))
        statements += [(str(index.name), str(CreateIndex(index).compile(dialect=dialect))) for index in table.indexes]
    return [*statements, *_SQLITE_TEXT_SEARCH.items()]
