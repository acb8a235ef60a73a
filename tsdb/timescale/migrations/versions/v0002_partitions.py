"""How the tables are divided by time, as functions that the writer role may call and that run as the owner.

On TimescaleDB a part is a chunk of a hypertable, on plain PostgreSQL a partition; the functions are the same.
"""

import psycopg

from tsdb.timescale.editions import Server
from tsdb.timescale.migrations.versions.v0001_tables import CHUNKS

revision = "0002"
down_revision = "0001"

_DIVISIONS = """
-- The tables that are divided; `length` is for parts to come.
CREATE TABLE divisions (
    relation text PRIMARY KEY,
    time_column text NOT NULL,
    length interval NOT NULL,
    options text NOT NULL DEFAULT ''
);
"""

_HYPERTABLES = """
CREATE VIEW parts AS
SELECT hypertable_name::text AS relation, format('%I.%I', chunk_schema, chunk_name)::regclass AS part,
       range_start AS from_time, range_end AS to_time
FROM timescaledb_information.chunks WHERE hypertable_schema = 'fleetwatch_data';

-- Chunks are made where a row comes that has none.
CREATE FUNCTION ensure_parts(relation text, from_time timestamptz, to_time timestamptz) RETURNS int
LANGUAGE sql AS 'SELECT 0';

CREATE PROCEDURE drop_part(relation text, part regclass, from_time timestamptz, to_time timestamptz)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT {extension}.drop_chunks(
        format('fleetwatch_data.%I', relation)::regclass, older_than => to_time, newer_than => from_time
    )
$$;

CREATE FUNCTION set_length(relation_name text, new_length interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE fleetwatch_data.divisions SET length = new_length WHERE relation = relation_name;
    SELECT {extension}.set_chunk_time_interval(format('fleetwatch_data.%I', relation)::regclass, length)
    FROM fleetwatch_data.divisions WHERE relation = relation_name;
$$;
"""

_PARTITIONS = """
CREATE VIEW parts AS
SELECT p.relname::text AS relation, c.oid::regclass AS part,
       b.bounds[1]::timestamptz AS from_time, b.bounds[2]::timestamptz AS to_time
FROM pg_inherits i
JOIN pg_class p ON p.oid = i.inhparent AND p.relnamespace = 'fleetwatch_data'::regnamespace AND p.relkind = 'p'
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL regexp_match(
    pg_get_expr(c.relpartbound, c.oid), $$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$$
) AS b (bounds);

-- Makes the partitions that are missing between two times; those of a former length stay as they are.
CREATE FUNCTION ensure_parts(relation_name text, from_time timestamptz, to_time timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    division fleetwatch_data.divisions;
    at timestamptz := from_time;
    upto timestamptz;
    start timestamptz;
    name text;
    made int := 0;
BEGIN
    SELECT * INTO STRICT division FROM fleetwatch_data.divisions d WHERE d.relation = relation_name;
    WHILE at <= to_time LOOP
        SELECT p.to_time INTO upto FROM fleetwatch_data.parts p
        WHERE p.relation = relation_name AND p.from_time <= at AND at < p.to_time;
        IF upto IS NULL AND made = 0 THEN
            -- Another process may just be making it.
            PERFORM pg_advisory_xact_lock(hashtext('fleetwatch_data.ensure_parts'), hashtext(relation_name));
            SELECT p.to_time INTO upto FROM fleetwatch_data.parts p
            WHERE p.relation = relation_name AND p.from_time <= at AND at < p.to_time;
        END IF;
        IF upto IS NULL THEN
            start := date_bin(division.length, at, '2000-01-01 00:00:00+00');
            SELECT least(start + division.length, min(p.from_time)) INTO upto FROM fleetwatch_data.parts p
            WHERE p.relation = relation_name AND p.from_time > at;
            SELECT greatest(start, max(p.to_time)) INTO start FROM fleetwatch_data.parts p
            WHERE p.relation = relation_name AND p.to_time <= at;
            name := format(
                '%s_%s%s', relation_name, to_char(start AT TIME ZONE 'UTC', 'YYYYMMDD"t"HH24MISS'),
                CASE WHEN start < '0001-01-01 00:00:00+00' THEN 'bc' END
            );
            -- Made and then attached: that does not hold up those who read and write the table.
            EXECUTE format(
                'CREATE TABLE fleetwatch_data.%I (LIKE fleetwatch_data.%I'
                ' INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION) %s',
                name, relation_name, CASE WHEN division.options <> '' THEN format('WITH (%s)', division.options) END
            );
            EXECUTE format(
                'ALTER TABLE fleetwatch_data.%I ATTACH PARTITION fleetwatch_data.%I FOR VALUES FROM (%L) TO (%L)',
                relation_name, name, start, upto
            );
            made := made + 1;
        END IF;
        at := upto;
        upto := NULL;
    END LOOP;
    RETURN made;
END $$;

CREATE PROCEDURE drop_part(relation text, part regclass, from_time timestamptz, to_time timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN EXECUTE format('DROP TABLE %s', part); END $$;

CREATE FUNCTION set_length(relation_name text, new_length interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ UPDATE fleetwatch_data.divisions SET length = new_length WHERE relation = relation_name $$;
"""

_DROPPING = """
-- Drops the parts of a table that lie before a time, all or only those without rows, and tells how many. A part that
-- others hold for longer than a moment is left for the next time.
CREATE FUNCTION drop_parts(relation_name text, before timestamptz, only_empty boolean) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    one record;
    there boolean;
    dropped int := 0;
BEGIN
    FOR one IN SELECT p.* FROM fleetwatch_data.parts p JOIN fleetwatch_data.divisions d USING (relation)
        WHERE p.relation = relation_name AND p.to_time <= before ORDER BY p.from_time
    LOOP
        IF only_empty THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', one.part) INTO there;
            CONTINUE WHEN there;
        END IF;
        BEGIN
            EXECUTE format('LOCK TABLE ONLY fleetwatch_data.%I IN ACCESS SHARE MODE', relation_name);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', one.part);
            IF only_empty THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', one.part) INTO there;
                CONTINUE WHEN there;
            END IF;
            CALL fleetwatch_data.drop_part(relation_name, one.part, one.from_time, one.to_time);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
    END LOOP;
    RETURN dropped;
END $$;

-- Writes a part anew in the order of its series, which gives the space of deleted rows back. False where it is in use.
CREATE FUNCTION rewrite_part(relation_name text, one_part regclass) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    found fleetwatch_data.parts;
BEGIN
    SELECT p.* INTO STRICT found FROM fleetwatch_data.parts p WHERE p.relation = relation_name AND p.part = one_part;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', one_part);
    EXECUTE (
        SELECT format('CLUSTER %s USING %I', one_part, c.relname)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = one_part AND pg_get_indexdef(c.oid) ~ '\\(sid, .*ts\\)'
    );
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
"""


def upgrade(connection: psycopg.Connection, server: Server) -> None:
    """Make the table of divisions and the functions."""
    connection.execute(_DIVISIONS)
    for table, (column, interval, options) in CHUNKS.items():
        connection.execute("INSERT INTO divisions VALUES (%s, %s, %s, %s)", [table, column, interval, options])
    by_edition = _HYPERTABLES if server.has_hypertables else _PARTITIONS
    connection.execute(by_edition.replace("{extension}", server.extension_schema).encode())
    connection.execute(_DROPPING)
