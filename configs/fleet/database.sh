#!/bin/sh
# Run once by the database's image, on an empty volume: a database with the extension, the roles, and two users. One owns
# the tables and is there for `fleetwatch db migrate`; the other is what Fleetwatch's processes log in as.
set -eu

psql -v ON_ERROR_STOP=1 --username=postgres \
  --set=owner="$(cat /run/secrets/owner)" --set=writer="$(cat /run/secrets/fleetwatch)" <<'SQL'
-- Nobody can log in as it, but TimescaleDB's jobs run for an owner who may.
CREATE ROLE fleetwatch_owner LOGIN CONNECTION LIMIT 0;
CREATE ROLE fleetwatch_writer;
CREATE ROLE fleetwatch_reader;
CREATE ROLE fleetwatch_admin LOGIN PASSWORD :'owner' IN ROLE fleetwatch_owner;
CREATE ROLE fleetwatch LOGIN PASSWORD :'writer' IN ROLE fleetwatch_writer;
CREATE DATABASE fleetwatch OWNER fleetwatch_owner;
\connect fleetwatch
CREATE EXTENSION IF NOT EXISTS timescaledb;
ALTER DATABASE fleetwatch SET jit = off;
SQL
