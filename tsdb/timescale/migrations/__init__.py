"""The versions of the schema, run by tsdb.timescale.migrate: each a module with `upgrade(connection, server)`."""
