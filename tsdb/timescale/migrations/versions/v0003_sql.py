"""SQL for people, in schema fleetwatch: see docs/sql.md.

A view cannot say that a filter on a sample's time is one on the time of its block, so what reads samples is a function
with the bounds as arguments. It is inlined into the query that calls it, which then touches the chunks of that time
only and finds series by whatever the query asks of `metric` and `labels`. A view of the same name reads all there is.
"""

import psycopg

from tsdb.timescale.editions import Server

revision = "0003"
down_revision = "0002"

_SERIES = """
CREATE VIEW fleetwatch.servers AS
SELECT server_id, name, description, labels FROM fleetwatch_data.servers;

CREATE VIEW fleetwatch.series AS
SELECT s.sid AS series_id, s.metric, s.labels, t.server_id, s.created_at
FROM fleetwatch_data.series s LEFT JOIN fleetwatch_data.targets t USING (target_id);

CREATE VIEW fleetwatch.logs AS
SELECT l.time, l.server_id, s.name AS server, l.log_type, l.source, l.message, l.fields, l.words, l.entry_id
FROM fleetwatch_data.logs l LEFT JOIN fleetwatch_data.servers s USING (server_id);
"""

_SAMPLES = """
CREATE TYPE fleetwatch_data.scrape AS (
    "time" timestamptz, times timestamptz[], seq bigint, layout_id int, v float8[]
);

-- The samples of from_time <= time < to_time, each series and time once: the last that was written.
CREATE FUNCTION fleetwatch.samples(from_time timestamptz, to_time timestamptz)
RETURNS TABLE ("time" timestamptz, metric text, labels jsonb, server_id uuid, value float8, series_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT sample.time, s.metric, s.labels, t.server_id, sample.value, s.sid
FROM fleetwatch_data.series s
LEFT JOIN fleetwatch_data.targets t USING (target_id)
-- The scrapes in the journal of the series' target, decompressed (by ||). The planner keeps them for the next series of
-- the target (Memoize). Large ones, which may be too much for an array all together, are left to each series.
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT j.layout_id) AS layout_ids,
           array_agg(
               ROW(j.time, j.times, j.seq, j.layout_id, j.v || '{}')::fleetwatch_data.scrape
           ) FILTER (WHERE pg_column_size(j.v) <= 65536) AS small,
           coalesce(bool_or(pg_column_size(j.v) > 65536), false) AS some_large
    FROM fleetwatch_data.journal j
    WHERE j.target_id = s.target_id AND (j.times IS NOT NULL OR j.time >= from_time AND j.time < to_time)
    OFFSET 0
) scraped
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (stored.time) stored.time, stored.value, stored.seq
    FROM (
        -- Blocks. OFFSET 0: what is computed for a row is computed once, and not for each of its samples.
        SELECT b.ts + interval '1 millisecond' * ((b.skipped + u.n - 1) * b.step + coalesce(b.dt[u.n], 0)),
               b.seq, u.value
        FROM (
            SELECT block.ts, block.seq, block.step, block.dt, cut.skipped,
                   CASE WHEN block.dt IS NULL THEN block.v[cut.skipped + 1 : cut.upto] ELSE block.v END AS v
            FROM fleetwatch_data.block
            CROSS JOIN LATERAL (
                -- Of a row on a grid, the places in the range.
                SELECT CASE WHEN block.dt IS NULL THEN ceil(
                           extract(epoch FROM greatest(from_time, block.ts) - block.ts) * 1000 / greatest(block.step, 1)
                       )::int ELSE 0 END AS skipped,
                       floor(
                           extract(epoch FROM least(to_time, block.ts + interval '2 hours') - block.ts) * 1000
                           / greatest(block.step, 1)
                       )::int + 1 AS upto
            ) cut
            WHERE block.sid = s.sid AND block.ts > from_time - interval '2 hours' AND block.ts < to_time
            OFFSET 0
        ) b
        CROSS JOIN LATERAL unnest(b.v) WITH ORDINALITY u (value, n)
        UNION ALL
        -- The journal. The place of the series is looked for once in each layout.
        (
            SELECT coalesce(j.times[place.n], j.time), j.seq, j.v[place.n]
            FROM unnest(scraped.small) j
            JOIN (
                SELECT l.layout_id, array_position(l.sids, s.sid) AS n
                FROM fleetwatch_data.layouts l
                WHERE l.layout_id = ANY (scraped.layout_ids)
                OFFSET 0
            ) place USING (layout_id)
            WHERE place.n IS NOT NULL
            OFFSET 0
        )
        UNION ALL
        -- Large scrapes, and those of further targets that send the series too.
        (
            SELECT coalesce(j.times[place.n], j.time), j.seq, j.v[place.n]
            FROM (
                SELECT * FROM fleetwatch_data.journal j
                WHERE scraped.some_large AND j.target_id = s.target_id AND pg_column_size(j.v) > 65536
                UNION ALL
                SELECT j.* FROM fleetwatch_data.series_sharing h JOIN fleetwatch_data.journal j USING (target_id)
                WHERE h.sid = s.sid
            ) j
            JOIN fleetwatch_data.layouts l USING (layout_id)
            CROSS JOIN LATERAL (SELECT array_position(l.sids, s.sid) AS n OFFSET 0) place
            WHERE place.n IS NOT NULL AND (j.times IS NOT NULL OR j.time >= from_time AND j.time < to_time)
            OFFSET 0
        )
    ) stored (time, seq, value)
    WHERE stored.time >= from_time AND stored.time < to_time
      -- ABSENT: no sample. All NaNs are equal, so their bits are looked at.
      AND (stored.value <> 'NaN' OR float8send(stored.value) <> '\\x7ff0000000000004')
    ORDER BY stored.time, stored.seq DESC
) sample
-- Staleness markers are no samples either, but hide what was written before.
WHERE (sample.value <> 'NaN' OR float8send(sample.value) <> '\\x7ff0000000000002')
  AND NOT EXISTS (
    SELECT FROM fleetwatch_data.tombstones d
    WHERE s.sid = ANY (d.sids) AND sample.seq <= d.upto_seq
      AND extract(epoch FROM sample.time) * 1000 BETWEEN d.start_ms AND d.end_ms
)
$$;

CREATE VIEW fleetwatch.samples AS SELECT * FROM fleetwatch.samples('-infinity', 'infinity');

-- The series whose labels contain the selector's, a row each, with their samples.
CREATE FUNCTION fleetwatch.series(selector jsonb, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (series_id bigint, metric text, labels jsonb, server_id uuid, times timestamptz[], "values" float8[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT s.series_id, s.metric, s.labels, s.server_id, x.times, x.values
FROM (
    SELECT series_id, array_agg(time ORDER BY time) AS times, array_agg(value ORDER BY time) AS values
    FROM fleetwatch.samples(from_time, to_time)
    WHERE labels @> selector
    GROUP BY series_id
) x
JOIN fleetwatch.series s USING (series_id)
$$;

-- How much counters grew per second, in steps. What is between two samples counts for the step of the later one.
CREATE FUNCTION fleetwatch.rate(selector jsonb, from_time timestamptz, to_time timestamptz, step interval)
RETURNS TABLE ("time" timestamptz, metric text, labels jsonb, server_id uuid, value float8, series_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT x.time, s.metric, s.labels, s.server_id, x.growth / nullif(extract(epoch FROM x.elapsed), 0), series_id
FROM (
    SELECT series_id, date_bin(step, time, '2000-01-01 00:00:00+00') AS time,
           -- A counter that fell began again at 0.
           sum(CASE WHEN value < before THEN value ELSE value - before END) AS growth,
           sum(time - time_before) AS elapsed
    FROM (
        SELECT series_id, time, value, lag(value) OVER previous AS before, lag(time) OVER previous AS time_before
        FROM fleetwatch.samples(from_time - interval '5 minutes', to_time)
        WHERE labels @> selector
        WINDOW previous AS (PARTITION BY series_id ORDER BY time)
    ) pairs
    WHERE time >= from_time AND before IS NOT NULL
    GROUP BY 1, 2
) x
JOIN fleetwatch.series s USING (series_id)
$$;
"""

_METRICS = """
-- What node_exporter says of a server, by minute: usage in per cent, network in bytes per second.
CREATE FUNCTION fleetwatch.metrics(from_time timestamptz, to_time timestamptz)
RETURNS TABLE (
    server_id uuid, "timestamp" timestamptz, cpu_usage float8, memory_usage float8, disk_usage float8,
    network_receive_bytes float8, network_transmit_bytes float8, load1 float8, load5 float8, load15 float8
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT server_id, date_bin('1 minute', time, '2000-01-01 00:00:00+00'),
       100 - 100 * sum(growth) FILTER (WHERE metric = 'node_cpu_seconds_total' AND labels ->> 'mode' = 'idle')
           / nullif(sum(growth) FILTER (WHERE metric = 'node_cpu_seconds_total'), 0),
       100 - 100 * avg(value) FILTER (WHERE metric = 'node_memory_MemAvailable_bytes')
           / nullif(avg(value) FILTER (WHERE metric = 'node_memory_MemTotal_bytes'), 0),
       100 - 100 * avg(value) FILTER (WHERE metric = 'node_filesystem_avail_bytes')
           / nullif(avg(value) FILTER (WHERE metric = 'node_filesystem_size_bytes'), 0),
       sum(growth / seconds) FILTER (WHERE metric = 'node_network_receive_bytes_total'),
       sum(growth / seconds) FILTER (WHERE metric = 'node_network_transmit_bytes_total'),
       avg(value) FILTER (WHERE metric = 'node_load1'),
       avg(value) FILTER (WHERE metric = 'node_load5'),
       avg(value) FILTER (WHERE metric = 'node_load15')
FROM (
    SELECT server_id, metric, labels, time, value,
           CASE WHEN value < lag(value) OVER previous THEN value ELSE value - lag(value) OVER previous END AS growth,
           nullif(extract(epoch FROM time - lag(time) OVER previous), 0) AS seconds
    FROM fleetwatch.samples(from_time - interval '5 minutes', to_time)
    WHERE metric IN (
        'node_cpu_seconds_total', 'node_memory_MemAvailable_bytes', 'node_memory_MemTotal_bytes',
        'node_filesystem_avail_bytes', 'node_filesystem_size_bytes',
        'node_network_receive_bytes_total', 'node_network_transmit_bytes_total',
        'node_load1', 'node_load5', 'node_load15'
    )
    AND (metric NOT LIKE 'node_filesystem%' OR labels ->> 'mountpoint' = '/')
    AND (metric NOT LIKE 'node_network%' OR labels ->> 'device' <> 'lo')
    WINDOW previous AS (PARTITION BY series_id ORDER BY time)
) x
WHERE time >= from_time
GROUP BY 1, 2
$$;

CREATE VIEW fleetwatch.metrics AS SELECT * FROM fleetwatch.metrics('-infinity', 'infinity');
"""

_METRIC_VIEWS = """
-- A view and a function of one metric, with a column for each label that its series have now. Returns its name.
CREATE FUNCTION fleetwatch.create_metric_view(metric_name text, view_name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    name text := coalesce(view_name, metric_name);
    existing regclass := to_regclass(format('fleetwatch.%I', name));
    label text;
    label_column text;
    taken text[] := '{time,value,server_id}';
    result text := '"time" timestamptz, value float8, server_id uuid';
    columns text := 'time, value, server_id';
    condition text := format('metric = %L', left(metric_name, 600));
BEGIN
    IF octet_length(name) > 63 THEN
        RAISE EXCEPTION 'a view''s name has at most 63 bytes: give a shorter one for %', metric_name;
    ELSIF existing IS NOT NULL AND obj_description(existing) IS DISTINCT FROM 'a metric' THEN
        RAISE EXCEPTION 'there is another view fleetwatch.%: give this one another name', name;
    ELSIF NOT EXISTS (SELECT FROM fleetwatch_data.series WHERE metric = left(metric_name, 600)) THEN
        RAISE EXCEPTION 'there are no series of metric %', metric_name;
    END IF;
    FOR label IN
        SELECT DISTINCT key FROM fleetwatch_data.series s CROSS JOIN jsonb_object_keys(s.labels) key
        WHERE s.metric = left(metric_name, 600) AND key <> '__name__' AND octet_length(key) < 50
        ORDER BY key LIMIT 100
    LOOP
        label_column := label;
        WHILE label_column = ANY (taken) LOOP
            label_column := 'label_' || label_column;
        END LOOP;
        taken := taken || label_column;
        result := result || format(', %I text', label_column);
        columns := columns || format(', labels ->> %L AS %I', label, label_column);
    END LOOP;
    EXECUTE format('DROP VIEW IF EXISTS fleetwatch.%I', name);
    EXECUTE format('DROP FUNCTION IF EXISTS fleetwatch.%I(timestamptz, timestamptz)', name);
    EXECUTE format('CREATE VIEW fleetwatch.%I AS SELECT %s FROM fleetwatch.samples WHERE %s', name, columns, condition);
    EXECUTE format('COMMENT ON VIEW fleetwatch.%I IS %L', name, 'a metric');
    EXECUTE format(
        'CREATE FUNCTION fleetwatch.%I(timestamptz, timestamptz) RETURNS TABLE (%s)'
        ' LANGUAGE sql STABLE PARALLEL SAFE AS %L', name, result,
        format('SELECT %s FROM fleetwatch.samples($1, $2) WHERE %s', columns, condition)
    );
    PERFORM fleetwatch_data.grant_rights();
    RETURN name;
END $$;
"""


def upgrade(connection: psycopg.Connection, server: Server) -> None:
    """Make the views and functions."""
    for statements in (_SERIES, _SAMPLES, _METRICS, _METRIC_VIEWS):
        connection.execute(statements.encode())
