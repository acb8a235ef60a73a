"""promtool asks the server as it asks Prometheus."""

import asyncio

from tests.components import require
from tests.server.conftest import Server
from tests.server.sample_data import START_S


async def promtool(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        require("promtool"), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_query_instant(server: Server) -> None:
    output = await promtool("query", "instant", f"--time={START_S}", server.url, "sum by (job) (up)")
    assert output == f'{{job="node"}} => 1 @[{START_S}]\n'


async def test_query_range(server: Server) -> None:
    times = (f"--start={START_S}", f"--end={START_S + 120}", "--step=1m")
    output = await promtool("query", "range", *times, server.url, 'up{instance="b:9100"}')
    assert output == (
        f'up{{instance="b:9100", job="node"}} =>\n0 @[{START_S}]\n0 @[{START_S + 60}]\n1 @[{START_S + 120}]\n'
    )


async def test_query_labels(server: Server) -> None:
    assert await promtool("query", "labels", server.url, "mode") == "idle\nuser\n"


async def test_query_series(server: Server) -> None:
    times = (f"--start={START_S}", f"--end={START_S + 120}")
    output = await promtool("query", "series", *times, "--match=up", server.url)
    assert output == "".join(
        f'{{__name__="up", instance="{instance}", job="node"}}\n' for instance in ("a:9100", "b:9100")
    )
