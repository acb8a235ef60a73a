"""/api/v1/status/*, and the rules and alerts of a process that evaluates none."""

import platform
import socket
import time
from pathlib import Path

from aiohttp import web

from server.answers import Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.params import Params
from server.targets import rfc3339

COMPATIBLE_VERSION = "3.5.0"
"""The Prometheus release whose API this is. Clients such as Grafana read it from the build information's version."""

_RULE_TYPES = ("", "alert", "record")


class StatusApi:
    """What runs here, since when, and with which configuration."""

    def __init__(self, deps: Dependencies) -> None:
        self._build = deps.build
        self._config_status = deps.config_status
        self._flags = dict(deps.flags)
        self._retention = deps.retention
        self._started_ms = time.time_ns() // 1_000_000

    async def buildinfo(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/buildinfo. Fleetwatch's version is the build metadata of a semantic version."""
        return Answer.of(
            {
                "version": f"{COMPATIBLE_VERSION}+fleetwatch.{self._build.version}",
                "revision": self._build.revision,
                "branch": self._build.branch,
                "buildUser": self._build.build_user,
                "buildDate": self._build.build_date,
                "goVersion": "",
                "pythonVersion": platform.python_version(),
                "application": "Fleetwatch",
            }
        )

    async def runtimeinfo(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/runtimeinfo, less what only a Go program has."""
        config = self._config_status()
        return Answer.of(
            {
                "startTime": rfc3339(self._started_ms),
                "CWD": str(Path.cwd()),
                "hostname": socket.gethostname(),
                "serverTime": rfc3339(time.time_ns() // 1_000_000),
                "reloadConfigSuccess": config.reload_succeeded,
                "lastConfigTime": rfc3339(config.loaded_ms),
                "corruptionCount": 0,
                "storageRetention": self._retention,
            }
        )

    async def config(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/config."""
        return Answer.of({"yaml": self._config_status().yaml})

    async def flags(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/flags."""
        return Answer.of(self._flags)

    async def rules(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/rules: this process evaluates none."""
        kind = params.get("type").lower()
        if kind not in _RULE_TYPES:
            raise BadDataError.of_parameter("type", f'not supported value "{kind}"')
        return Answer.of({"groups": []})

    async def alerts(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/alerts: this process has none."""
        return Answer.of({"alerts": []})
