"""The identity of the host, for joining what is scraped with the server it is about."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from exporter.errors import ExporterError
from exporter.identity import server_id, state_directory
from exporter.roots import Roots
from exposition.writer import Family, label_text


class ServerInfoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the server_info collector; no directory is the one that `exporter.identity` finds."""

    state_directory: str = ""


class ServerInfoCollector:
    """`fleetwatch_server_info`."""

    def __init__(self, roots: Roots, options: ServerInfoOptions) -> None:
        self._directory = Path(options.state_directory) if options.state_directory else state_directory()
        self._machine_id = roots.rootfs / "etc/machine-id"
        self._server_id = ""

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        if not self._server_id:
            try:
                self._server_id = server_id(self._directory, self._machine_id)
            except ExporterError as error:
                raise RuntimeError(str(error)) from error
        labels = label_text(server_id=self._server_id, hostname=os.uname().nodename)
        yield Family.single("fleetwatch_server_info", "gauge", "The server that these metrics are of.", 1, labels)
