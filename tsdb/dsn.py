"""Data source names: the URL of a PostgreSQL database, as libpq reads it.

    postgresql://user@db1:5432,db2:5432/fleetwatch?target_session_attrs=read-write&sslmode=verify-full

What it leaves out, libpq takes from its environment (PGHOST, PGUSER, PGPASSWORD, PGPASSFILE, ...) and from ~/.pgpass.
A password may be in it, so it is shown to nobody as it is.
"""

import re
from urllib.parse import quote

_SCHEMES = ("postgresql://", "postgres://")
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/\s]*@")
_SECRETS = ("password=", "sslpassword=")


def is_dsn(text: str) -> bool:
    """Whether a store is named by a DSN, and not by the path of a directory."""
    return text.startswith(_SCHEMES)


def shown_dsn(dsn: str) -> str:
    """The DSN without passwords."""
    url, _, query = _URL_PASSWORD.sub(r"\1@", dsn).partition("?")
    kept = "&".join(part for part in query.split("&") if not part.startswith(_SECRETS))
    return f"{url}?{kept}" if kept else url


def with_password(dsn: str, password: str) -> str:
    """The DSN with a password, which one in it yields to."""
    return f"{dsn}{'&' if '?' in dsn else '?'}password={quote(password, safe='')}"
