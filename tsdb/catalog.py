"""What a store knows by number: series, layouts, targets and servers, and which target holds which series.

Numbers are never reused, so that a store on disk writes what is new by asking for everything from the first number
it has not stored yet. Targets and servers stay; series are dropped once nothing has samples of them; a layout lives
as long as somebody holds it: a scrape cache, a batch, a segment of the head.
"""

import re
import threading
import uuid
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.labels import Labels
from tsdb.index import SeriesIndex
from tsdb.model import IntArray, Layout, Server, server_id_of

_PORT = re.compile(r":\d+$")

# Instead of the one target that holds a series.
_NOBODY, _SEVERAL = -1, -2


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """Series by who holds them: `own` int64[N] are of one target each, `homes` int32[N]; several have `shared`."""

    own: IntArray
    homes: npt.NDArray[np.int32]
    shared: IntArray
    sharing: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """What `Catalog.hold` learned: `ids` int64[N] got `homes` int32[N]; `sharing` are (series, further target)."""

    ids: IntArray
    homes: npt.NDArray[np.int32]
    sharing: Sequence[tuple[int, int]]


class Catalog:
    """Series, layouts, targets and servers of one store, in memory. Thread-safe."""

    def __init__(self) -> None:
        self.index = SeriesIndex()
        self._lock = threading.Lock()
        self._layouts: weakref.WeakValueDictionary[bytes, Layout] = weakref.WeakValueDictionary()
        self._next_layout_id = 0
        self._targets: list[Labels] = []
        self._target_ids: dict[Labels, int] = {}
        self._servers: dict[uuid.UUID, Server] = {}
        # Servers made or changed since they were last taken for storing.
        self._changed_servers: dict[uuid.UUID, Server] = {}
        # The targets that are known to hold all series of a layout.
        self._held: weakref.WeakKeyDictionary[Layout, set[int]] = weakref.WeakKeyDictionary()
        # The target that held a series, and for the few that have several, all of them.
        self._home = np.full(0, _NOBODY, dtype=np.int32)
        self._holders: dict[int, set[int]] = {}
        self._new_holdings: list[Holding] = []

    def layout(self, series_ids: IntArray) -> Layout:
        """The interned layout of a vector of series ids. Raises ValueError for unknown, dropped or repeated ids."""
        key = np.ascontiguousarray(series_ids, dtype="<i8").tobytes()
        with self._lock:
            layout = self._layouts.get(key)
            if layout is not None:
                return layout
            ids = np.frombuffer(key, dtype="<i8")
            if not self.index.has_all(ids):
                raise ValueError("a layout names series that series_ids() never made, or that were dropped since")
            if len(np.unique(ids)) != len(ids):
                raise ValueError("a layout names a series twice")
            self._next_layout_id += 1
            return self._intern(self._next_layout_id - 1, key)

    def load_layout(self, layout_id: int, series_ids: IntArray) -> Layout:
        """The layout that has this number on disk, where another number may stand for the same series."""
        key = np.ascontiguousarray(series_ids, dtype="<i8").tobytes()
        with self._lock:
            self.number_layouts_from(layout_id + 1)
            known = self._layouts.get(key)
            if known is None:
                return self._intern(layout_id, key)
            return known if known.layout_id == layout_id else Layout(layout_id, known.series_ids)

    def number_layouts_from(self, layout_id: int) -> None:
        """Say that lower numbers of layouts are taken."""
        self._next_layout_id = max(self._next_layout_id, layout_id)

    def live_layouts(self) -> list[Layout]:
        """The layouts that somebody holds."""
        with self._lock:
            return list(self._layouts.values())

    def _intern(self, layout_id: int, key: bytes) -> Layout:
        # A view of the immutable key: the vector is kept once.
        layout = self._layouts[key] = Layout(layout_id, np.frombuffer(key, dtype="<i8"))
        return layout

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
        """Say that a target has samples of a layout's series; to be called before they are written."""
        with self._lock:
            held = self._held.get(layout)
            if held is None:
                held = self._held[layout] = set()
            if target_id in held:
                return
            ids = layout.series_ids
            self._make_room()
            homes = self._home[ids]
            homeless = ids[homes == _NOBODY]
            self._home[homeless] = target_id
            elsewhere = (homes != _NOBODY) & (homes != target_id)
            sharing = self._share(target_id, ids[elsewhere], homes[elsewhere])
            if len(homeless) or sharing:
                homes = np.full(len(homeless), target_id, dtype=np.int32)
                self._new_holdings.append(Holding(homeless, homes, sharing))
            held.add(target_id)

    def load_holding(self, holding: Holding) -> None:
        """Take in what is on disk."""
        with self._lock:
            self._make_room()
            self._home[holding.ids] = holding.homes
            for series_id, target_id in holding.sharing:
                home = int(self._home[series_id])
                if home == _NOBODY:
                    self._home[series_id] = target_id
                else:
                    self._holders.setdefault(series_id, {home}).add(target_id)
            self._home[list(self._holders)] = _SEVERAL

    def new_holdings(self) -> list[Holding]:
        """What `hold` learned since `holdings_stored`."""
        with self._lock:
            return list(self._new_holdings)

    def holdings_stored(self, holdings: Sequence[Holding]) -> None:
        """Say that the first ones of `new_holdings` were stored."""
        with self._lock:
            del self._new_holdings[: len(holdings)]

    def drop_series(self, series_ids: IntArray) -> IntArray:
        """Forget those of the series that nobody can be about to write: the ones that were forgotten.

        Spared are the series of live layouts, and ids that `SeriesIndex.ids` gave out since the last call. What the
        dropped ones took is freed by `SeriesIndex.purge`, which takes longer.
        """
        with self._lock:
            self._make_room()
            droppable = np.zeros(len(self._home), dtype=np.bool_)
            droppable[series_ids] = True
            for layout in self._layouts.values():
                droppable[layout.series_ids] = False
            dropped = self.index.drop(np.flatnonzero(droppable))
            self._home[dropped] = _NOBODY
            for series_id in [series_id for series_id in self._holders if self._home[series_id] != _SEVERAL]:
                del self._holders[series_id]
            return dropped

    def _share(self, target_id: int, ids: IntArray, homes: npt.NDArray[np.int32]) -> list[tuple[int, int]]:
        """Make a target a further one of series that have another: (series, target) where that is new."""
        new = []
        for series_id, home in zip(ids.tolist(), homes.tolist(), strict=True):
            holders = self._holders.setdefault(series_id, {home})
            if target_id not in holders:
                holders.add(target_id)
                new.append((series_id, target_id))
        self._home[ids] = _SEVERAL
        return new

    def _make_room(self) -> None:
        """Homes for all series there are."""
        needed = self.index.next_id
        if len(self._home) < needed:
            home = np.full(needed + needed // 8, _NOBODY, dtype=np.int32)
            home[: len(self._home)] = self._home
            self._home = home

    def holders(self, series_ids: IntArray) -> Holders:
        """Where the series are; those that no target holds are left out."""
        with self._lock:
            self._make_room()
            home = self._home[series_ids]
            own = home >= 0
            shared = series_ids[home == _SEVERAL]
            sharing = set().union(*[self._holders[series_id] for series_id in shared.tolist()])
        return Holders(series_ids[own], home[own], shared, sorted(sharing))

    def series_of_targets(self, first_id: int = 0) -> IntArray:
        """int64[targets]: how many series each target has held, of those with this id and later ones."""
        with self._lock:
            homes = self._home[first_id:]
            counts = np.bincount(homes[homes >= 0], minlength=len(self._targets))
            for series_id, holders in self._holders.items():
                if series_id >= first_id and self._home[series_id] == _SEVERAL:
                    counts[list(holders)] += 1
            return counts.astype(np.int64, copy=False)

    def series_of_target(self, target_id: int) -> int:
        """How many series a target has held."""
        with self._lock:
            shared = [number for number, holders in self._holders.items() if target_id in holders]
            return int((self._home == target_id).sum() + (self._home[shared] == _SEVERAL).sum())

    def target_labels(self, target_id: int) -> Labels:
        """The labels of a target."""
        return self._targets[target_id]

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
