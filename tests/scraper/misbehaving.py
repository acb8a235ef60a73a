"""Targets that misbehave, each on a port of its own; run as a process, so that their work is not the scraper's.

`python -m tests.scraper.misbehaving COUNT` prints a JSON line of (kind, address) pairs when all listen, and ends with
its standard input.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from isal import igzip

from scraper.http_reasons import BROKEN

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SAMPLE_LIMIT = 100
LABEL_VALUE_LENGTH_LIMIT = 1_000
BODY_SIZE_LIMIT_BYTES = 16 * 2**20
_DRIP_S = 0.05
_LINE_BYTES = 10 * 2**20
_MANY_SERIES = 50_000


def _plain(body: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _bomb() -> bytes:
    return _plain(igzip.compress(b"#" * 63 * 2**20), b"Content-Encoding: gzip\r\n")


def _churning(scrape: int) -> bytes:
    return _plain(b"".join(b'churning{id="%d-%d"} 1\n' % (scrape, number) for number in range(SAMPLE_LIMIT // 2)))


Pieces = Callable[[], Iterator[bytes]]


def _once(answer: bytes) -> Pieces:
    return lambda: iter((answer,))


def _forever(head: bytes, piece: bytes) -> Pieces:
    return lambda: itertools.chain((head,), itertools.repeat(piece))


_NOTHING = _once(b"")


@dataclass(frozen=True)
class Kind:
    """How a target misbehaves: what it sends when asked, and what it does then.

    `error` is part of what the scraper must say of it; empty where the scrape must succeed all the same.
    """

    name: str
    error: str
    pieces: Pieces = _NOTHING
    drips: bool = False
    closes: bool = False
    resets: bool = False
    hangs: bool = False
    at_once: bool = False


KINDS = [
    Kind("drips its head", "deadline exceeded", _forever(OK, b"X"), drips=True),
    Kind("drips its body", "deadline exceeded", _forever(OK + b"Content-Length: 9999\r\n\r\n", b"#"), drips=True),
    Kind("drips chunks", "deadline exceeded", _forever(CHUNKED, b"1\r\n#\r\n"), drips=True),
    Kind("streams without end", "body size limit exceeded", _forever(OK + b"\r\n", b"#" * 65_536)),
    Kind(
        "streams chunks without end",
        "body size limit exceeded",
        _forever(CHUNKED, b"10000\r\n" + b"#" * 65_536 + b"\r\n"),
    ),
    Kind("sends head lines without end", BROKEN, _forever(OK, b"X: " + b"x" * 1_000 + b"\r\n")),
    Kind("announces without end", "deadline exceeded", _forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), drips=True),
    Kind("sends less than it says", "unexpected EOF", _once(OK + b"Content-Length: 99\r\n\r\na 1\n"), closes=True),
    Kind("sends more than it says", "line 2, column 4", _once(OK + b"Content-Length: 7\r\n\r\na 1\nb{c} 1\n")),
    Kind(
        "says it sends 10 GB",
        "body size limit exceeded",
        _once(OK + b"Content-Length: 10000000000\r\n\r\n"),
        hangs=True,
    ),
    Kind("is a gzip bomb", "body size limit exceeded", _once(_bomb())),
    Kind("breaks its gzip", "gzip: invalid header", _once(_plain(b"a 1\n" * 9, b"Content-Encoding: gzip\r\n"))),
    Kind("never answers", "deadline exceeded", hangs=True),
    Kind("closes when asked", '/metrics": EOF', closes=True),
    Kind("closes at once", 'Get "', closes=True, at_once=True),
    Kind("resets the connection", "unexpected EOF", _once(OK + b"Content-Length: 9\r\n\r\na"), resets=True),
    Kind("talks SSH", f"{BROKEN}malformed HTTP response", _once(b"SSH-2.0-OpenSSH_9.9\r\n"), hangs=True),
    Kind("talks TLS", f"{BROKEN}malformed HTTP response", _once(b"\x15\x03\x03\x00\x02\x02\x46"), closes=True),
    Kind(
        "redirects in a circle",
        "redirect",
        _once(b"HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n"),
    ),
    Kind(
        "answers 500", "server returned HTTP status 500 Oops", _once(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    ),
    Kind("sends invalid UTF-8", "UTF-8", _once(_plain(b'a{b="\xff"} 1\n'))),
    Kind("sends HTML", "line 1", _once(_plain(b"<html><body>Welcome to nginx!</body></html>\n"))),
    Kind("sends a label of 10 MB", "label", _once(_plain(b'a{b="' + b"x" * _LINE_BYTES + b'"} 1\n'))),
    Kind("sends a name of 10 MB", "line 1", _once(_plain(b"x" * _LINE_BYTES + b"\n"))),
    Kind("sends NUL bytes", "line 1", _once(_plain(b"\x00" * 2**20))),
    Kind("breaks its chunks", "invalid byte in chunk length", _once(CHUNKED + b"zz\r\nxx\r\n"), hangs=True),
    Kind("ends before the last chunk", "unexpected EOF", _once(CHUNKED + b"4\r\na 1\n\r\n"), closes=True),
    Kind(
        "has too many series",
        "sample limit",
        _once(_plain(b"".join(b'a{b="%d"} 1\n' % b for b in range(_MANY_SERIES)))),
    ),
    Kind("changes every series", "", lambda: map(_churning, itertools.count())),
]


class Target:
    """One misbehaving target."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._churn = kind.pieces() if kind.error == "" else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Misbehave on one connection until the client has had enough."""
        kind = self._kind
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not kind.at_once:
                await reader.readuntil(b"\r\n\r\n")
                async for piece in self._answer():
                    writer.write(piece)
                    await writer.drain()
                if kind.hangs:
                    await reader.read()
                if kind.resets:
                    writer.transport.abort()
                if kind.closes or kind.resets:
                    break
        writer.close()

    async def _answer(self) -> AsyncIterator[bytes]:
        if self._churn is not None:
            yield next(self._churn)
            return
        for piece in self._kind.pieces():
            yield piece
            await asyncio.sleep(_DRIP_S if self._kind.drips else 0)


async def main(count: int) -> None:
    """`count` targets, all kinds as evenly as can be."""
    kinds = list(itertools.islice(itertools.cycle(KINDS), count))
    listeners = [await asyncio.start_server(Target(kind).serve, "127.0.0.1", 0) for kind in kinds]
    addresses = ["{}:{}".format(*listener.sockets[0].getsockname()) for listener in listeners]
    sys.stdout.write(json.dumps([(kind.name, address) for kind, address in zip(kinds, addresses, strict=True)]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def misbehaving_targets(count: int) -> Iterator[dict[str, Kind]]:
    """Start them in a process of their own; yields the kinds by address."""
    command = [sys.executable, "-m", "tests.scraper.misbehaving", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            by_name = {kind.name: kind for kind in KINDS}
            yield {address: by_name[name] for name, address in json.loads(process.stdout.readline())}
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
