"""What the community edition of TimescaleDB does by itself when told to, as functions that run as the owner.

The edition is looked at when they are called, so that a server can change from the Apache edition to the other one.
"""

import psycopg

from tsdb.timescale.editions import Server

revision = "0004"
down_revision = "0003"

_NONE = """
CREATE FUNCTION set_retention(relation_name text, keep interval) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION set_columnstore(relation_name text, after interval) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION make_narrow() RETURNS boolean LANGUAGE sql AS 'SELECT false';
"""

_POLICIES = """
-- Has the server drop what is older, or nothing where `keep` is null. False where the server has no policies.
CREATE FUNCTION set_retention(relation_name text, keep interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hypertable regclass := format('fleetwatch_data.%I', relation_name)::regclass;
    kept interval;
BEGIN
    IF current_setting('timescaledb.license') <> 'timescale' THEN
        RETURN false;
    END IF;
    SELECT (config ->> 'drop_after')::interval INTO kept FROM timescaledb_information.jobs
    WHERE hypertable_schema = 'fleetwatch_data' AND hypertable_name = relation_name AND proc_name = 'policy_retention';
    IF kept IS DISTINCT FROM keep THEN
        PERFORM {extension}.remove_retention_policy(hypertable, if_exists => true);
        IF keep IS NOT NULL THEN
            PERFORM {extension}.add_retention_policy(hypertable, keep, schedule_interval => interval '1 hour');
        END IF;
    END IF;
    RETURN true;
END $$;

-- Has the server compress what is older. False where the server has no columnstore.
CREATE FUNCTION set_columnstore(relation_name text, after interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hypertable regclass := format('fleetwatch_data.%I', relation_name)::regclass;
    segment_by text;
    order_by text;
BEGIN
    IF current_setting('timescaledb.license') <> 'timescale' THEN
        RETURN false;
    END IF;
    IF EXISTS (
        SELECT FROM timescaledb_information.jobs
        WHERE hypertable_schema = 'fleetwatch_data' AND hypertable_name = relation_name
          AND proc_name IN ('policy_compression', 'policy_columnstore')
          AND coalesce(config ->> 'compress_after', config ->> 'after')::interval = after
    ) THEN
        RETURN true;
    END IF;
    SELECT s.segment_by, s.order_by INTO STRICT segment_by, order_by
    FROM (VALUES ('logs', 'server_id', 'time DESC'), ('sample', 'sid', 'ts')) s (relation, segment_by, order_by)
    WHERE s.relation = relation_name;
    EXECUTE format(
        'ALTER TABLE %s SET (timescaledb.compress, timescaledb.compress_segmentby = %L,'
        ' timescaledb.compress_orderby = %L)', hypertable, segment_by, order_by
    );
    IF to_regproc('{extension}.add_columnstore_policy') IS NULL THEN
        PERFORM {extension}.remove_compression_policy(hypertable, if_exists => true);
        PERFORM {extension}.add_compression_policy(hypertable, after);
    ELSE
        EXECUTE 'CALL {extension}.remove_columnstore_policy($1, if_exists => true)' USING hypertable;
        EXECUTE 'CALL {extension}.add_columnstore_policy($1, after => $2)' USING hypertable, after;
    END IF;
    RETURN true;
END $$;

-- The hypertable with a row for each sample, what the server keeps of it in coarser steps, and views of them.
CREATE FUNCTION make_narrow() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    step record;
BEGIN
    IF current_setting('timescaledb.license') <> 'timescale' THEN
        RETURN false;
    ELSIF to_regclass('fleetwatch_data.sample') IS NOT NULL THEN
        RETURN true;
    END IF;
    -- Without an index, which would cost four times as much as the rows.
    CREATE TABLE fleetwatch_data.sample (ts timestamptz NOT NULL, sid bigint NOT NULL, v float8 NOT NULL);
    PERFORM {extension}.create_hypertable(
        'fleetwatch_data.sample'::regclass, {extension}.by_range('ts', interval '4 hours'),
        create_default_indexes => false
    );
    INSERT INTO fleetwatch_data.divisions VALUES ('sample', 'ts', '4 hours');
    PERFORM fleetwatch_data.set_columnstore('sample', interval '1 day');
    CREATE VIEW fleetwatch.samples_narrow AS
        SELECT n.ts AS time, s.metric, s.labels, s.server_id, n.v AS value, s.series_id
        FROM fleetwatch_data.sample n JOIN fleetwatch.series s ON s.series_id = n.sid
        WHERE n.v <> 'NaN' OR float8send(n.v) <> '\\x7ff0000000000002';
    CREATE MATERIALIZED VIEW fleetwatch_data.sample_5m WITH (timescaledb.continuous) AS
        SELECT {extension}.time_bucket(interval '5 minutes', ts) AS ts, sid, count(*) AS count, sum(v) AS sum,
               min(v) AS min, max(v) AS max, {extension}.first(v, ts) AS first, {extension}.last(v, ts) AS last
        FROM fleetwatch_data.sample WHERE v <> 'NaN' GROUP BY 1, 2 WITH NO DATA;
    CREATE MATERIALIZED VIEW fleetwatch_data.sample_1h WITH (timescaledb.continuous) AS
        SELECT {extension}.time_bucket(interval '1 hour', ts) AS ts, sid, sum(count) AS count, sum(sum) AS sum,
               min(min) AS min, max(max) AS max,
               {extension}.first(first, ts) AS first, {extension}.last(last, ts) AS last
        FROM fleetwatch_data.sample_5m GROUP BY 1, 2 WITH NO DATA;
    FOR step IN SELECT * FROM (VALUES ('5m', interval '5 minutes'), ('1h', interval '1 hour')) s (name, width) LOOP
        PERFORM {extension}.add_continuous_aggregate_policy(
            format('fleetwatch_data.sample_%s', step.name)::regclass, start_offset => interval '12 hours',
            end_offset => step.width, schedule_interval => greatest(step.width, interval '30 minutes')
        );
        EXECUTE format(
            'CREATE VIEW fleetwatch.samples_%s AS SELECT n.ts AS time, s.metric, s.labels, s.server_id,'
            ' n.count, n.sum, n.min, n.max, n.first, n.last, s.series_id'
            ' FROM fleetwatch_data.sample_%s n JOIN fleetwatch.series s ON s.series_id = n.sid', step.name, step.name
        );
    END LOOP;
    PERFORM fleetwatch_data.grant_rights();
    RETURN true;
END $$;
"""


def upgrade(connection: psycopg.Connection, server: Server) -> None:
    """Make the functions."""
    statements = _POLICIES.replace("{extension}", server.extension_schema) if server.has_hypertables else _NONE
    connection.execute(statements.encode())
