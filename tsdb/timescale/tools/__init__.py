"""What is done with a database as a whole: `fleetwatch db` with a DSN.

status         what is in it: sizes, series, chunks, writers
doctor         whether its settings are right, and the command that mends what is not
checks         whether its rows are sound
backup         pg_dump and pg_restore, with a manifest
move           an embedded store's content into it
"""
