"""The store in TimescaleDB, its community or Apache edition, or in plain PostgreSQL: see docs/timescale.md."""
