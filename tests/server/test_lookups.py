"""Labels, label values and series."""

import pytest

from tests.server.conftest import Server
from tests.server.sample_data import SERIES, START_S

TRUNCATED = ["results truncated due to limit"]
UP = [dict(labels) for labels, _ in SERIES if labels.metric_name == "up"]


async def test_label_names(server: Server) -> None:
    assert await server.data("labels") == ["__name__", "instance", "job", "kind", "mode"]
    assert await server.data("labels", **{"match[]": "up"}) == ["__name__", "instance", "job"]


async def test_several_selectors_are_united(server: Server) -> None:
    status, answer = await server.get("labels?match[]=up&match[]=odd")
    assert (status, answer["data"]) == (200, ["__name__", "instance", "job", "kind"])


async def test_label_values(server: Server) -> None:
    assert await server.data("label/mode/values") == ["idle", "user"]
    assert await server.data("label/__name__/values") == ["cpu_seconds_total", "odd", "up"]
    assert await server.data("label/job/values", **{"match[]": "odd"}) == []
    assert await server.data("label/nowhere/values") == []


@pytest.mark.parametrize("path", ["U__job", "U__j_6f_b", "job", "j%6Fb"])
async def test_label_names_in_paths_may_be_escaped(server: Server, path: str) -> None:
    status, answer = await server.get(f"label/{path}/values")
    assert (status, answer["data"]) == (200, ["node"])


async def test_series(server: Server) -> None:
    assert await server.data("series", **{"match[]": "up"}) == UP
    assert await server.data("series", **{"match[]": 'up{instance!~"a.*"}'}) == UP[1:]
    assert await server.data("series", **{"match[]": "nothing"}) == []


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("labels", ["__name__", "instance", "job", "kind", "mode"]),
        ("label/__name__/values", ["cpu_seconds_total", "odd", "up"]),
        ("series?match[]=up", UP),
    ],
)
async def test_limits_cut_and_warn(server: Server, path: str, whole: list[object]) -> None:
    mark = "&" if "?" in path else "?"
    for limit in range(len(whole) + 2):
        _, answer = await server.get(f"{path}{mark}limit={limit}")
        cut = 0 < limit < len(whole)
        assert answer["data"] == (whole[:limit] if cut else whole)
        assert answer.get("warnings") == (TRUNCATED if cut else None)


async def test_times_bound_the_answer(server: Server) -> None:
    for path in ("labels", "label/job/values", "series?match[]=up"):
        mark = "&" if "?" in path else "?"
        assert await server.data(f"{path}{mark}start={START_S}&end={START_S + 60}") != []
        assert await server.data(f"{path}{mark}start=5&end=1") == []


async def test_post_forms(server: Server) -> None:
    for path, expected in (("labels", ["__name__", "instance", "job"]), ("series", UP)):
        async with server.session.post(f"/api/v1/{path}", data={"match[]": "up"}) as response:
            assert (response.status, (await response.json())["data"]) == (200, expected)
