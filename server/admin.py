"""Deleting series and making snapshots: Prometheus's /api/v1/admin/tsdb/*, and the way back.

What was deleted is listed and undone under /api/v1/fleetwatch/deletions.
"""

import asyncio
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from common.labels import quote
from server.answers import Answer
from server.deps import Dependencies
from server.errors import ApiError, BadDataError, NotFoundError
from server.params import MAX_TIME_MS, MIN_TIME_MS, Params, integer
from server.selectors import parse_selectors
from server.targets import rfc3339
from tsdb.store import Store
from tsdb.tombstones import Deletion, UnknownDeletionError

log = logging.getLogger(__name__)

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("", "0", "f", "F", "FALSE", "false", "False")


class AdminDisabledError(ApiError):
    """The flag --web.enable-admin-api is not given; Prometheus answers so with 500."""

    error_type = "unavailable"
    status = 500


class AdminApi:
    """What changes the store, for those who start the process with --web.enable-admin-api."""

    def __init__(self, deps: Dependencies) -> None:
        self._store: Store = deps.store
        self._is_enabled = deps.enable_admin_api
        self._cache = deps.range_cache

    async def delete_series(self, request: web.Request, params: Params) -> Answer:
        """POST, PUT /api/v1/admin/tsdb/delete_series. With `dry_run=true` says what would be deleted."""
        self._check_enabled()
        texts = params.all("match[]")
        if not texts:
            raise BadDataError("no match[] parameter provided")
        start_ms, end_ms = params.time_ms_or("start", MIN_TIME_MS), params.time_ms_or("end", MAX_TIME_MS)
        dry_run = _boolean(params, "dry_run")
        try:
            selectors = parse_selectors(texts, allow_all=True)
        except BadDataError as error:
            raise BadDataError.of_parameter("match[]", error) from None
        if dry_run:
            deleted = await asyncio.to_thread(self._store.count_deletable, selectors, start_ms, end_ms)
            return Answer.of({"series": deleted.series, "samples": deleted.samples})
        deletion = await asyncio.to_thread(self._store.delete_series, selectors, start_ms, end_ms, _now_ms())
        self._forget_results()
        if deletion is not None:
            log.info("series deleted", extra={"deletion": deletion.deletion_id, "series": deletion.deleted.series})
        raise web.HTTPNoContent

    async def clean_tombstones(self, request: web.Request, params: Params) -> Answer:
        """POST, PUT /api/v1/admin/tsdb/clean_tombstones: after it nothing can be undone."""
        self._check_enabled()
        await asyncio.to_thread(self._store.clean_tombstones)
        raise web.HTTPNoContent

    async def snapshot(self, request: web.Request, params: Params) -> Answer:
        """POST, PUT /api/v1/admin/tsdb/snapshot. `skip_head` is taken, and what it would leave out is there too."""
        self._check_enabled()
        _boolean(params, "skip_head")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"
        await asyncio.to_thread(self._store.snapshot, name)
        return Answer.of({"name": name})

    async def deletions(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/fleetwatch/deletions: those whose samples are not all removed yet, oldest first."""
        return Answer.of([_shown(deletion) for deletion in self._store.deletions()])

    async def undo(self, request: web.Request, params: Params) -> Answer:
        """POST /api/v1/fleetwatch/deletions/<id>/undo."""
        self._check_enabled()
        text = request.match_info["id"]
        number = integer(text)
        if number is None:
            raise BadDataError(f"a delete has a number, not {quote(text)}")
        try:
            await asyncio.to_thread(self._store.undo_delete, number)
        except UnknownDeletionError as error:
            raise NotFoundError(str(error)) from None
        self._forget_results()
        log.info("delete undone", extra={"id": number})
        raise web.HTTPNoContent

    def _forget_results(self) -> None:
        if self._cache is not None:
            self._cache.clear()

    def _check_enabled(self) -> None:
        if not self._is_enabled:
            raise AdminDisabledError("admin APIs disabled")


def _shown(deletion: Deletion) -> dict[str, Any]:
    """A delete as JSON; `undoableUntil` is null where its samples are being removed."""
    return {
        "id": deletion.deletion_id,
        "matchers": [f"{{{','.join(map(str, matchers))}}}" for matchers in deletion.selectors],
        "start": None if deletion.start_ms <= MIN_TIME_MS else rfc3339(deletion.start_ms),
        "end": None if deletion.end_ms >= MAX_TIME_MS else rfc3339(deletion.end_ms),
        "series": deletion.deleted.series,
        "samples": deletion.deleted.samples,
        "created": rfc3339(deletion.created_ms),
        "undoableUntil": rfc3339(deletion.expires_ms) if deletion.expires_ms else None,
    }


def _boolean(params: Params, name: str) -> bool:
    """As Go's strconv.ParseBool reads it; false where it is not given. Raises BadDataError."""
    text = params.get(name)
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadDataError.of_parameter(
        name, f"unable to parse boolean: strconv.ParseBool: parsing {quote(text)}: invalid syntax"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
