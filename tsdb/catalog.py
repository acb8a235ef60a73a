"""What a store knows by number: series, layouts, targets and servers, and which target holds which series.

Numbers are dense and never reused, so that a store on disk writes what is new by asking for everything from the
first number it has not stored yet.
"""

import re
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.labels import Labels
from tsdb.index import SeriesIndex
from tsdb.model import IntArray, Layout, Server, server_id_of

_PORT = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """Series by who holds them: `own` int64[N] are of one target each, `homes` int32[N]; several have `shared`."""

    own: IntArray
    homes: npt.NDArray[np.int32]
    shared: IntArray
    sharing: list[int]


class Catalog:
    """Series, layouts, targets and servers of one store, in memory. Thread-safe."""

    def __init__(self) -> None:
        self.index = SeriesIndex()
        self._lock = threading.Lock()
        self._layouts: list[Layout] = []
        self._layout_ids: dict[bytes, int] = {}
        self._targets: list[Labels] = []
        self._target_ids: dict[Labels, int] = {}
        self._servers: dict[uuid.UUID, Server] = {}
        # Servers made or changed since they were last taken for storing.
        self._changed_servers: dict[uuid.UUID, Server] = {}
        self._held: set[tuple[int, int]] = set()
        # The first target that held a series (-1: none yet), and for the few that have several, all of them.
        self._home = np.full(0, -1, dtype=np.int32)
        self._holders: dict[int, set[int]] = {}

    def layout(self, series_ids: IntArray) -> Layout:
        """The interned layout of a vector of series ids. Raises ValueError for unknown or repeated ids."""
        key = np.ascontiguousarray(series_ids, dtype="<i8").tobytes()
        with self._lock:
            layout_id = self._layout_ids.get(key)
            if layout_id is not None:
                return self._layouts[layout_id]
            # A view of the immutable key: the vector is kept once.
            layout = Layout(len(self._layouts), np.frombuffer(key, dtype="<i8"))
            if len(layout) and not 0 <= layout.series_ids.min() <= layout.series_ids.max() < len(self.index):
                raise ValueError("a layout names series that were never made by series_ids()")
            if len(np.unique(layout.series_ids)) != len(layout):
                raise ValueError("a layout names a series twice")
            self._layouts.append(layout)
            self._layout_ids[key] = layout.layout_id
            return layout

    def layout_by_id(self, layout_id: int) -> Layout:
        """The layout with this number."""
        return self._layouts[layout_id]

    def layouts_from(self, first_id: int) -> list[Layout]:
        """The layout `first_id` and every one made after it."""
        return self._layouts[first_id:]

    def target(self, labels: Labels) -> int:
        """The number of a target, made where it is new, together with the server its `instance` names."""
        with self._lock:
            target_id = self._target_ids.get(labels)
            if target_id is None:
                target_id = self._target_ids[labels] = len(self._targets)
                self._targets.append(labels)
                self._ensure_server(labels.get("instance"))
            return target_id

    def targets_from(self, first_id: int) -> list[Labels]:
        """The labels of target `first_id` and of every one made after it."""
        return self._targets[first_id:]

    def put_server(self, server: Server) -> None:
        """Make or replace a server."""
        with self._lock:
            self._servers[server.server_id] = self._changed_servers[server.server_id] = server

    def servers(self) -> list[Server]:
        """All servers by name."""
        with self._lock:
            return sorted(self._servers.values(), key=lambda server: (server.name, server.server_id))

    def changed_servers(self) -> list[Server]:
        """Servers made or changed since `servers_stored`."""
        with self._lock:
            return list(self._changed_servers.values())

    def servers_stored(self, servers: Iterable[Server]) -> None:
        """Say that these were stored, unless they changed again meanwhile."""
        with self._lock:
            for server in servers:
                if self._changed_servers.get(server.server_id) is server:
                    del self._changed_servers[server.server_id]

    def hold(self, target_id: int, layout: Layout) -> None:
        """Say that a target has samples of a layout's series; to be called before they can be read."""
        if (target_id, layout.layout_id) in self._held:
            return
        ids = layout.series_ids
        with self._lock:
            if len(self._home) < len(self.index):
                home = np.full(2 * len(self.index), -1, dtype=np.int32)
                home[: len(self._home)] = self._home
                self._home = home
            for series_id in ids[(self._home[ids] != target_id) & (self._home[ids] >= 0)].tolist():
                self._holders.setdefault(series_id, {int(self._home[series_id])}).add(target_id)
            self._home[ids[self._home[ids] < 0]] = target_id
            self._held.add((target_id, layout.layout_id))

    def holders(self, series_ids: IntArray) -> Holders:
        """Where the series are; those that no target holds are left out."""
        with self._lock:
            home = np.full(len(series_ids), -1, dtype=np.int32)
            known = series_ids < len(self._home)
            home[known] = self._home[series_ids[known]]
            shared = np.zeros(len(series_ids), dtype=np.bool_)
            sharing: set[int] = set()
            if self._holders:
                several = np.fromiter(self._holders, dtype=np.int64, count=len(self._holders))
                shared = np.isin(series_ids, several)
                sharing.update(*(self._holders[series_id] for series_id in series_ids[shared].tolist()))
        own = (home >= 0) & ~shared
        return Holders(series_ids[own], home[own], series_ids[shared], sorted(sharing))

    def figures(self) -> dict[str, float]:
        """Counts for `Store.stats`."""
        return {
            "series": float(len(self.index)),
            "layouts": float(len(self._layouts)),
            "targets": float(len(self._targets)),
        }

    def _ensure_server(self, instance: str) -> None:
        name = server_name(instance)
        if name and all(server.name != name for server in self._servers.values()):
            server = Server(server_id_of(name), name)
            self._servers[server.server_id] = self._changed_servers[server.server_id] = server


def server_name(instance: str) -> str:
    """The host of an `instance` label: its port cut off, and the brackets of an IPv6 address."""
    if instance.count(":") > 1 and not instance.startswith("["):
        return instance  # an IPv6 address without a port
    host = _PORT.sub("", instance)
    return host.removeprefix("[").removesuffix("]")
