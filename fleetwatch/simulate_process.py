"""`fleetwatch simulate`: a fleet of virtual servers behind one port, and the file_sd file that names them."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from aiohttp import web
from isal import igzip
from prometheus_client.exposition import gzip_accepted

from fleetwatch.errors import StartError
from fleetwatch.listen import allow_open_files, serve, shown_address, stop_signal
from scraper.simulate.fleet import SimulatedFleet

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COMPRESS_LEVEL = 0
_CONFIG = """\
scrape_configs:
  - job_name: node
    scrape_interval: 15s
    file_sd_configs:
      - files: [{}]
"""


def run_simulation(fleet: SimulatedFleet, address: str, targets_file: Path) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError."""
    uvloop.run(_run(fleet, address, targets_file.absolute()))


async def _run(fleet: SimulatedFleet, address: str, path: Path) -> None:
    allow_open_files()
    stop = stop_signal()
    config = _CONFIG.format(json.dumps(str(path)))
    async with contextlib.AsyncExitStack() as stack:
        runner = web.AppRunner(create_app(fleet, config), access_log=None)
        await serve(stack, runner, [address], "--web.listen-address")
        # The port that was taken, where port 0 asked for any.
        shown = shown_address(f"{address.rpartition(':')[0]}:{runner.addresses[0][1]}")
        _write_atomically(path, json.dumps(fleet.target_groups(shown), indent=1))
        sys.stdout.write(f"The simulation is ready: http://{shown}/\nTargets: {path}\n\n{config}")
        sys.stdout.flush()
        await stop.wait()


def create_app(fleet: SimulatedFleet, landing_text: str, now_s: Callable[[], float] = time.time) -> web.Application:
    """Serves `/<server>/metrics` of every server, and the text at `/`."""

    async def metrics(request: web.Request) -> web.Response:
        text = fleet.body(request.match_info["server"], now_s())
        if text is None:
            raise web.HTTPNotFound(text="There is no such server in the simulation.\n")
        body, headers = text.encode(), {"Content-Type": CONTENT_TYPE}
        if gzip_accepted(",".join(request.headers.getall("Accept-Encoding", []))):
            body, headers["Content-Encoding"] = igzip.compress(body, _COMPRESS_LEVEL), "gzip"
        return web.Response(body=body, headers=headers)

    async def landing(_request: web.Request) -> web.Response:
        return web.Response(text=landing_text)

    app = web.Application()
    app.router.add_get("/{server}/metrics", metrics)
    app.router.add_get("/", landing)
    return app


def _write_atomically(path: Path, text: str) -> None:
    """A scraper that watches the file sees the old one or the new one. Raises StartError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StartError(f"cannot write {path}: {error.strerror}; set --targets-file") from error
