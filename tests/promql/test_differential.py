"""Random queries over random samples: the engine answers what a live Prometheus answers.

FLEETWATCH_FUZZ_QUERIES is how many queries are asked, FLEETWATCH_FUZZ_SEED where random numbers start. What differs is
made as small as it can be and printed as a script.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from promql import Engine
from promql.testing.notation import format_point
from tests.promql.fuzz.compare import difference, engine_answer
from tests.promql.fuzz.data import GRID_MS, SPAN_MS, Series, random_series, with_noise
from tests.promql.fuzz.expressions import Expr, Generator, smaller
from tests.promql.fuzz.peer import Query, ask, loaded_prometheus
from tsdb import open_store
from tsdb.store import Store

QUERIES = int(os.environ.get("FLEETWATCH_FUZZ_QUERIES", "5000"))
SEED = int(os.environ.get("FLEETWATCH_FUZZ_SEED", "1"))
DATA_SETS = 4
BATCH = 64
MOST_SHOWN = int(os.environ.get("FLEETWATCH_FUZZ_SHOWN", "8"))


def cases(seed: int, count: int) -> Iterator[tuple[Expr, Query]]:
    source = random.Random(seed)
    generator = Generator(source)
    for _ in range(count):
        expr = generator.expression()
        start_ms = source.randrange(0, SPAN_MS + 300_000, 250)
        step_ms = source.choice([0, 0, 7_000, 15_000, 37_500, 60_000, 300_000])
        if expr.kind == "matrix":
            step_ms = 0
        end_ms = start_ms + (step_ms and source.randint(0, 20 * step_ms))
        yield expr, Query(str(expr), start_ms, end_ms, step_ms)


class Differential:
    def __init__(self, store: Store, noisy: Store, session: aiohttp.ClientSession) -> None:
        self._engine, self._noisy = Engine(store), Engine(noisy)
        self._session = session

    async def differs(self, query: Query) -> str | None:
        expected = await ask(self._session, query)
        asked = query.expr, query.start_ms, query.end_ms, query.step_ms
        got = engine_answer(self._engine, *asked)
        return difference(query.expr, got, expected, lambda: engine_answer(self._noisy, *asked))

    async def shrunk(self, expr: Expr, query: Query) -> Query:
        shrinking = True
        while shrinking:
            shrinking = False
            for less in smaller(expr):
                candidate = Query(str(less), query.start_ms, query.end_ms, query.step_ms)
                if len(str(less)) < len(str(expr)) and await self.differs(candidate):
                    expr, query, shrinking = less, candidate, True
                    break
        return query


@pytest.mark.parametrize("part", range(DATA_SETS))
async def test_the_engine_answers_what_prometheus_answers(part: int, tmp_path: Path) -> None:
    seed = SEED * DATA_SETS + part
    series = random_series(seed)
    store, noisy = loaded_store(series), loaded_store(with_noise(series))
    failures: list[str] = []
    async with loaded_prometheus(series, tmp_path) as session:
        differential = Differential(store, noisy, session)
        pending = list(cases(seed, QUERIES // DATA_SETS))
        for first in range(0, len(pending), BATCH):
            batch = pending[first : first + BATCH]
            found = await asyncio.gather(*(differential.differs(query) for _, query in batch))
            for (expr, query), reason in zip(batch, found, strict=True):
                if reason is not None:
                    small = await differential.shrunk(expr, query)
                    failures.append(f"# {await differential.differs(small)}\n{as_script(small, series)}")
    store.close()
    noisy.close()
    assert not failures, f"{len(failures)} of {len(pending)} differ:\n" + "\n".join(failures[:MOST_SHOWN])


def as_script(query: Query, series: list[Series]) -> str:
    """A script that asks the query; what it has to answer is left to be filled in."""
    names = {one.labels.metric_name for one in series if one.labels.metric_name in query.expr}
    lines = [f"load {GRID_MS}ms"]
    lines += [f"  {one.labels} {points(one)}" for one in series if one.labels.metric_name in names]
    when = f"instant at {query.start_ms}ms"
    if query.step_ms:
        when = f"range from {query.start_ms}ms to {query.end_ms}ms step {query.step_ms}ms"
    return "\n".join([*lines, "", f"eval {when} {query.expr}"])


def points(series: Series) -> str:
    texts, next_place = [], 0
    for place, value in zip((series.times_ms // GRID_MS).tolist(), series.values, strict=True):
        if place > next_place:
            texts.append(f"_x{place - next_place}")
        texts.append(format_point(value))
        next_place = place + 1
    return " ".join(texts)


def loaded_store(series: list[Series]) -> Store:
    store = open_store("memory:")
    for one in series:
        store.append_samples(one.labels, list(zip(one.times_ms.tolist(), one.values.tolist(), strict=True)))
    return store
