"""The roles that a database of Fleetwatch has, and what each may do.

fleetwatch_owner owns the schemas. fleetwatch_writer is for Fleetwatch's processes: it reads and writes the tables, and
divides and drops what is old through functions that run with the owner's rights. fleetwatch_reader is for people: it
reads the views in schema fleetwatch. Nobody can log in as one of them; users are granted one.
"""

import contextlib
from typing import LiteralString

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tsdb.errors import StoreOpenError

OWNER, WRITER, READER = "fleetwatch_owner", "fleetwatch_writer", "fleetwatch_reader"
DATA, PEOPLE = "fleetwatch_data", "fleetwatch"
"""The schemas: of the tables, and of the views and functions for people."""

_OWNER_OPTIONS: LiteralString = "LOGIN CONNECTION LIMIT 0"
"""TimescaleDB runs policies as the owner of the tables, who must be allowed to log in; the limit is for clients."""

_READABLE = ("series", "series_sharing", "targets", "layouts", "journal", "block", "tombstones")
"""What the functions for people read: they are inlined, and so run with the rights of whoever calls them."""

_KEPT = ("schema_version", "divisions")
"""What only a migration, or a function of the owner, changes."""

_MAY_MAKE = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"

_OWNER_OF_SCHEMA = (
    f"SELECT rolname FROM pg_roles r JOIN pg_namespace n ON n.nspowner = r.oid WHERE nspname = '{DATA}'".encode()
)

_MAY_GRANT = f"SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = '{DATA}'"

# A function, so that others of the owner call it when they make something. It looks at the objects of the owner alone:
# others may have put views of their own into the schema for people.
_GRANT_RIGHTS = f"""
CREATE OR REPLACE FUNCTION {DATA}.grant_rights() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $do$
DECLARE
    one record;
BEGIN
    IF to_regrole('{WRITER}') IS NULL OR to_regrole('{READER}') IS NULL THEN
        RETURN;
    END IF;
    GRANT USAGE ON SCHEMA {DATA}, {PEOPLE} TO {WRITER}, {READER};
    FOR one IN SELECT c.oid::regclass AS name, c.relname, c.relkind, c.relnamespace::regnamespace::text AS place
        FROM pg_class c
        WHERE c.relnamespace IN ('{DATA}'::regnamespace, '{PEOPLE}'::regnamespace)
          AND c.relowner = current_user::regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT c.relispartition
    LOOP
        IF one.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO {WRITER}', one.name);
        ELSE
            EXECUTE format('GRANT SELECT ON %s TO {WRITER}', one.name);
            IF one.place = '{PEOPLE}' OR one.relname IN {_READABLE} THEN
                EXECUTE format('GRANT SELECT ON %s TO {READER}', one.name);
            END IF;
            IF one.relkind IN ('r', 'p') AND one.relname NOT IN {_KEPT} THEN
                EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO {WRITER}', one.name);
            END IF;
        END IF;
    END LOOP;
    FOR one IN SELECT p.oid::regprocedure AS name, p.prosecdef, p.pronamespace::regnamespace::text AS place
        FROM pg_proc p
        WHERE p.pronamespace IN ('{DATA}'::regnamespace, '{PEOPLE}'::regnamespace)
          AND p.proowner = current_user::regrole
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', one.name);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO {WRITER}', one.name);
        IF one.place = '{PEOPLE}' AND NOT one.prosecdef THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO {READER}', one.name);
        END IF;
    END LOOP;
END $do$;
SELECT {DATA}.grant_rights();
"""


def missing_roles(connection: psycopg.Connection) -> list[str]:
    """Those of the three roles that the server does not have."""
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[OWNER, WRITER, READER]])
    there = {name for (name,) in rows}
    return [role for role in (OWNER, WRITER, READER) if role not in there]


def can_make_missing(connection: psycopg.Connection) -> bool:
    """Whether roles are missing, and the user may make them and give them rights in the schemas that there are."""
    return bool(missing_roles(connection)) and _one(connection, _MAY_MAKE) and _one(connection, _MAY_GRANT)


def make_roles(connection: psycopg.Connection) -> None:
    """Make the roles that are missing, where the user may: a server has them once, for all its databases."""
    if not _one(connection, _MAY_MAKE):
        return
    for role in missing_roles(connection):
        try:
            with connection.transaction():
                options = SQL(_OWNER_OPTIONS if role == OWNER else "NOLOGIN")
                connection.execute(SQL("CREATE ROLE {} {}").format(Identifier(role), options))
        except (errors.DuplicateObject, errors.UniqueViolation):
            continue  # another database of the server is being migrated
    if not _one(connection, "SELECT pg_has_role(%s, 'USAGE')", OWNER):
        # From PostgreSQL 16 on, only those who made a role may; others own the schemas themselves.
        with contextlib.suppress(errors.InsufficientPrivilege), connection.transaction():
            connection.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(OWNER)))


def make_schemas(connection: psycopg.Connection) -> None:
    """Make the schemas, and continue as their owner until the transaction ends.

    Raises StoreOpenError where the user may not make them, or may not act for the one who owns them.
    """
    user, database = connection.execute("SELECT current_user, current_database()").fetchone() or ("", "")
    owners = connection.execute(_OWNER_OF_SCHEMA).fetchone()
    if owners is None:
        able = OWNER not in missing_roles(connection) and _one(connection, "SELECT pg_has_role(%s, 'USAGE')", OWNER)
        owner = OWNER if able else user
        try:
            for schema in (DATA, PEOPLE):
                make = SQL("CREATE SCHEMA {} AUTHORIZATION {}")
                connection.execute(make.format(Identifier(schema), Identifier(owner)))
        except errors.DuplicateSchema as error:
            raise StoreOpenError(
                f"database {database} has a schema {PEOPLE} that is not Fleetwatch's: rename it, or take another one"
            ) from error
        except errors.InsufficientPrivilege as error:
            raise StoreOpenError(
                f"user {user} may not make schemas in database {database}: run GRANT CREATE ON DATABASE {database} "
                f"TO {user} as the database's owner, or `fleetwatch db migrate` as a user who may"
            ) from error
    else:
        owner = owners[0]
        if not _one(connection, "SELECT pg_has_role(%s, 'USAGE')", owner):
            raise StoreOpenError(
                f"user {user} may not change the schema of database {database}, which belongs to {owner}: run "
                f"`fleetwatch db migrate` as a user who may, or GRANT {owner} TO {user}"
            )
    connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(owner)))


def grant_rights(connection: psycopg.Connection) -> None:
    """Give each role its rights on all that there is; run by the owner after every migration."""
    connection.execute(_GRANT_RIGHTS.encode())


def missing_rights(connection: psycopg.Connection) -> list[str]:
    """What is not there because the user who migrated may not make roles, a sentence each."""
    missing = missing_roles(connection)
    if not missing:
        return []
    return [
        f"The server has no role {', '.join(missing)}: run `fleetwatch db migrate` as a user with CREATEROLE; until "
        "then only the owner of the schemas fleetwatch and fleetwatch_data can use them."
    ]


def _one(connection: psycopg.Connection, query: str, *parameters: str) -> bool:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    return bool(row and row[0])
