"""Both numbers of everything, against dictionaries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.timescale.ids import UNKNOWN, Ids

numbers = st.integers(0, 40)
pairs = st.lists(st.tuples(numbers, numbers), unique_by=(lambda pair: pair[0], lambda pair: pair[1]), max_size=10)


@given(st.lists(st.tuples(st.booleans(), pairs), max_size=10))
def test_series(steps: list[tuple[bool, list[tuple[int, int]]]]) -> None:
    ids = Ids()
    sids: dict[int, int] = {}
    locals_: dict[int, int] = {}
    for learn, some in steps:
        if learn:
            both = np.array(some, dtype=np.int64).reshape(-1, 2)
            ids.learn_series(both[:, 0], both[:, 1])
            sids.update(some)
            locals_.update({sid: local for local, sid in some})
        else:
            ids.forget_series(np.array([sid for _, sid in some], dtype=np.int64))
            for _, sid in some:
                local = locals_.pop(sid, UNKNOWN)
                if sids.get(local) == sid:
                    del sids[local]
        everything = np.arange(-1, 60)
        assert ids.sids(everything).tolist() == [sids.get(n, UNKNOWN) for n in everything.tolist()]
        assert ids.locals(everything).tolist() == [locals_.get(n, UNKNOWN) for n in everything.tolist()]
        assert sorted(ids.known_sids().tolist()) == sorted(sids.values())


def test_targets_and_layouts() -> None:
    ids, catalog = Ids(), Catalog()
    layout = catalog.layout(catalog.index.ids([Labels.of(__name__="x")]))
    ids.learn_target(3, 30)
    ids.learn_layout(layout, 7)
    assert (ids.target_id(3), ids.local_target(30), ids.layout_id(layout)) == (3 * 10, 3, 7)
    ids.forget_layouts()
    assert ids.layout_id(layout) is None
    ids.forget_all()
    assert (ids.target_id(3), ids.local_target(30), ids.generation) == (None, None, 1)
