"""Bodies of HTTP answers: whole ones, and how they are decompressed within a limit."""

import asyncio
from dataclasses import dataclass
from typing import cast

from isal import isal_zlib
from multidict import CIMultiDictProxy

from scraper.errors import BodyTooLargeError, BrokenBodyError
from scraper.http_reasons import CLOSED, CUT_OFF

_GZIP_WINDOW_BITS = 31
# The package's type information has the class as an instance.
_GzipError = cast(type[Exception], isal_zlib.error)
# Decompressing more than this would hold up everything else on the loop; it goes to a thread.
_INLINE_GZIP_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """A whole answer, of whatever status; the body is decompressed."""

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    body: bytes


async def decompress(body: bytes, content_encoding: str, limit_bytes: int) -> bytes:
    """The body as it was before its Content-Encoding; only gzip is known, as only gzip is ever asked for.

    Raises BrokenBodyError where it is damaged, BodyTooLargeError where it has more than `limit_bytes`.
    """
    if content_encoding != "gzip":
        return body
    if len(body) > _INLINE_GZIP_BYTES:
        return await asyncio.to_thread(gunzip, body, limit_bytes)
    return gunzip(body, limit_bytes)


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Decompress all gzip members; raises like `decompress`, in the words of Go's compress/gzip."""
    if not body:
        raise BrokenBodyError(CLOSED)
    parts: list[bytes] = []
    room = limit_bytes
    while body:
        decompressor = isal_zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        try:
            part = decompressor.decompress(body, room + 1)
        except _GzipError as error:
            raise BrokenBodyError(_reason(error)) from error
        if len(part) > room:
            raise body_too_large(limit_bytes)
        if not decompressor.eof:
            raise BrokenBodyError(CUT_OFF)
        parts.append(part)
        room -= len(part)
        body = decompressor.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _reason(error: Exception) -> str:
    if "wrapper" in str(error):
        return "gzip: invalid header"
    return "gzip: invalid checksum" if "checksum" in str(error) else "flate: corrupt input"


def body_too_large(limit_bytes: int) -> BodyTooLargeError:
    """The error of a body over its limit."""
    return BodyTooLargeError(f"body size limit exceeded: the body has more than {limit_bytes} bytes")
