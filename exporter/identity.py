"""Who this host is: a UUID that outlasts restarts, new names and new addresses.

It is made at the first start and kept in a file of the state directory. Where nothing can be written it is derived
from the machine's id (machine-id(5)), which is as lasting, but the same in clones of a disk image.
"""

import contextlib
import logging
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path

from exporter.errors import ExporterError

log = logging.getLogger(__name__)

FILE = "server_id"
_MACHINE_ID = re.compile("[0-9a-f]{32}")
_NAMESPACE = uuid.UUID("9a5d8c1e-7b1f-4d5e-9a55-3f0c6a2e8b41")
"""Tells a host's id from its machine-id, which is to be kept confidential."""


def state_directory(environment: Mapping[str, str] = os.environ, user_id: int | None = None) -> Path:
    """Where state is kept if nobody says: what systemd gives, /var/lib for root, else the user's own directory."""
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if (os.geteuid() if user_id is None else user_id) == 0:
        return Path("/var/lib/fleetwatch")
    home = environment.get("XDG_STATE_HOME") or Path(environment.get("HOME", "/")) / ".local/state"
    return Path(home) / "fleetwatch"


def server_id(directory: Path, machine_id: Path = Path("/etc/machine-id")) -> str:
    """This host's UUID. Raises ExporterError where the file holds something else, or there is nothing to go by."""
    file = directory / FILE
    try:
        return _kept(file)
    except FileNotFoundError:
        pass
    except PermissionError as error:
        raise ExporterError(f"{file} cannot be read: run as its owner, or set --state.directory") from error
    except OSError as error:
        return _derived(machine_id, f"{file} cannot be read: {error.strerror}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _keep(file, str(uuid.uuid4()))
    except OSError as error:
        return _derived(machine_id, f"{file} cannot be written: {error.strerror}")
    return _kept(file)


def _kept(file: Path) -> str:
    text = file.read_text("utf-8", "replace").strip()
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ExporterError(
            f"{file} holds {text[:50]!r}, which is no UUID: put back this host's id, or remove the file for a new one"
        ) from error


def _keep(file: Path, text: str) -> None:
    """Write the file whole or not at all; the first of several processes that start at once wins."""
    new = file.with_name(f"{FILE}.{text}.new")
    try:
        with new.open("w") as written:
            written.write(f"{text}\n")
            written.flush()
            os.fsync(written.fileno())
        new.chmod(0o644)
        with contextlib.suppress(FileExistsError):
            os.link(new, file)
        _sync(file.parent)
    finally:
        new.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Have the names in a directory outlast a loss of power."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _derived(machine_id: Path, reason: str) -> str:
    try:
        text = machine_id.read_text("ascii", "replace").strip()
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    if not _MACHINE_ID.fullmatch(text):
        # Images hold none, or the word `uninitialized`: their hosts would all be the same.
        raise ExporterError(
            f"this host has no lasting id: {reason}, and {machine_id}: {text[:50] or 'is empty'}; set --state.directory"
        )
    log.warning("the host's id is derived from its machine-id", extra={"reason": reason})
    return str(uuid.uuid5(_NAMESPACE, text))
