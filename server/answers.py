"""Answers: Prometheus's JSON envelope, compressed where the client takes gzip, sent at the client's pace."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import hdrs, web
from isal import isal_zlib

from server.errors import ApiError
from server.points import Part

JSON_TYPE = "application/json"
TRUNCATED_WARNING = "results truncated due to limit"

_COMPRESS_FROM_BYTES = 1024
_THREAD_FROM_BYTES = 64 * 1024
_COMPRESS_LEVEL = 1
_GZIP_WINDOW_BITS = 31  # a gzip header and the largest window
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API call found: the parts of `data` are JSON together. Warnings and infos are shown beside it."""

    data: Sequence[Part]
    warnings: Sequence[str] = field(default=())
    infos: Sequence[str] = field(default=())
    held: AbstractContextManager[object] = field(default_factory=nullcontext)
    """Left when the answer is sent, or cannot be."""

    @classmethod
    def of(cls, data: Any, warnings: Sequence[str] = ()) -> "Answer":
        """From plain objects that orjson can write."""
        return cls((orjson.dumps(data),), warnings)

    def body(self) -> list[Part]:
        """The whole envelope."""
        parts = [b'{"status":"success","data":', *self.data]
        if self.warnings:
            parts += b',"warnings":', orjson.dumps(list(self.warnings))
        if self.infos:
            parts += b',"infos":', orjson.dumps(list(self.infos))
        parts.append(b"}")
        return parts


def error_response(error: ApiError) -> web.Response:
    """The envelope of an error."""
    body = {"status": "error", "errorType": error.error_type, "error": str(error)}
    return web.Response(body=orjson.dumps(body), status=error.status, content_type=JSON_TYPE)


async def send_answer(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer. A large one is compressed on a thread and written in chunks, each waiting for the client."""
    with answer.held:
        return await _send(request, answer)


async def _send(request: web.Request, answer: Answer) -> web.StreamResponse:
    body = answer.body()
    size = sum(map(len, body))
    headers = {hdrs.CONTENT_TYPE: JSON_TYPE, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if size >= _COMPRESS_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        body = await asyncio.to_thread(_compress, body) if size >= _THREAD_FROM_BYTES else _compress(body)
        size = sum(map(len, body))
    if size <= _CHUNK_BYTES:
        return web.Response(body=b"".join(body), headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    await response.prepare(request)
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _CHUNK_BYTES):
            await response.write(view[start : start + _CHUNK_BYTES])
    await response.write_eof()
    return response


def _compress(body: Sequence[Part]) -> list[Part]:
    compressor = isal_zlib.compressobj(_COMPRESS_LEVEL, wbits=_GZIP_WINDOW_BITS)
    compressed: list[Part] = [compressor.compress(part) for part in body]
    return [*[part for part in compressed if len(part)], compressor.flush()]


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110 section 12.5.3)."""
    weights = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))
