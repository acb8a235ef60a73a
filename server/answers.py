"""Answers: Prometheus's JSON envelope, compressed where the client takes gzip, sent at the client's pace."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import hdrs, web
from isal import igzip

from server.errors import ApiError

JSON_TYPE = "application/json"
TRUNCATED_WARNING = "results truncated due to limit"

_COMPRESS_FROM_BYTES = 1024
_ENCODE_IN_THREAD_FROM_BYTES = 64 * 1024
_COMPRESS_LEVEL = 1
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API call found: `data` is JSON already. Warnings and infos are shown beside it."""

    data: bytes
    warnings: Sequence[str] = field(default=())
    infos: Sequence[str] = field(default=())

    @classmethod
    def of(cls, data: Any, warnings: Sequence[str] = ()) -> "Answer":
        """From plain objects that orjson can write."""
        return cls(orjson.dumps(data), warnings)

    def envelope(self) -> bytes:
        """The whole body."""
        parts = [b'{"status":"success","data":', self.data]
        if self.warnings:
            parts += b',"warnings":', orjson.dumps(list(self.warnings))
        if self.infos:
            parts += b',"infos":', orjson.dumps(list(self.infos))
        parts.append(b"}")
        return b"".join(parts)


def error_response(error: ApiError) -> web.Response:
    """The envelope of an error."""
    body = {"status": "error", "errorType": error.error_type, "error": str(error)}
    return web.Response(body=orjson.dumps(body), status=error.status, content_type=JSON_TYPE)


async def send_answer(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer. A large one is put together on a thread and written in chunks, each waiting for the client."""
    compressed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    compressed = compressed and len(answer.data) >= _COMPRESS_FROM_BYTES
    if len(answer.data) >= _ENCODE_IN_THREAD_FROM_BYTES:
        body = await asyncio.to_thread(_encode, answer, compressed)
    else:
        body = _encode(answer, compressed)
    headers = {hdrs.CONTENT_TYPE: JSON_TYPE, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if compressed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    if len(body) <= _CHUNK_BYTES:
        return web.Response(body=body, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK_BYTES):
        await response.write(view[start : start + _CHUNK_BYTES])
    await response.write_eof()
    return response


def _encode(answer: Answer, compressed: bool) -> bytes:
    return igzip.compress(answer.envelope(), _COMPRESS_LEVEL) if compressed else answer.envelope()


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110 section 12.5.3)."""
    weights = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))
