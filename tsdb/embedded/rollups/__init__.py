"""Roll-ups of what is old (tsdb.rollups): `rows` in the file, `making` them in maintenance, `reading` them."""
