"""One module for each version, as alembic finds them."""
