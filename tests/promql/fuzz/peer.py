"""The same samples in a live Prometheus, by remote write, and its answers."""

import contextlib
import json
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from common.labels import Labels
from tests.exposition.prometheus_process import prometheus
from tests.promql.fuzz.compare import Answer, Answered, Failed
from tests.promql.fuzz.data import Series

FEATURES = "promql-experimental-functions,promql-delayed-name-removal,promql-duration-expr,promql-per-step-stats"
_LITERAL = 65_536


@dataclass(frozen=True, slots=True)
class Query:
    """An instant query, where there is no step, or a range query."""

    expr: str
    start_ms: int
    end_ms: int
    step_ms: int


@contextlib.asynccontextmanager
async def loaded_prometheus(series: list[Series], directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A Prometheus 3 with all experimental features and these samples."""
    options = [f"--enable-feature={FEATURES}", "--web.enable-remote-write-receiver"]
    options += ["--storage.tsdb.retention.time=100y", "--query.max-concurrency=4"]
    async with prometheus("{}", directory, *options) as session:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        headers["X-Prometheus-Remote-Write-Version"] = "0.1.0"
        async with session.post("/api/v1/write", data=_snappy(_write_request(series)), headers=headers) as response:
            if response.status not in (200, 204):
                raise RuntimeError(f"prometheus refused the samples: {await response.text()}")
        yield session


async def ask(session: aiohttp.ClientSession, query: Query) -> Answer:
    """What Prometheus answers."""
    params = {"query": query.expr}
    if query.step_ms:
        params |= {
            "start": f"{query.start_ms / 1000}",
            "end": f"{query.end_ms / 1000}",
            "step": f"{query.step_ms / 1000}",
        }
    else:
        params["time"] = f"{query.start_ms / 1000}"
    path = "query_range" if query.step_ms else "query"
    async with session.post(f"/api/v1/{path}", data=params) as response:
        answer = json.loads(await response.text())
    if answer["status"] == "error":
        return Failed(answer["errorType"], answer["error"])
    annotations = answer.get("warnings", []) + answer.get("infos", [])
    kind, result = answer["data"]["resultType"], answer["data"]["result"]
    if kind in ("scalar", "string"):
        result = [{"metric": {}, "value": result}]
    series = [
        (
            Labels.of(one["metric"]),
            [(round(time * 1000), float(value)) for time, value in one.get("values") or [one["value"]]],
        )
        for one in result
    ]
    return Answered(kind, series, annotations)


def _write_request(series: Iterable[Series]) -> bytes:
    """WriteRequest of prometheus prompb/remote.proto."""
    return b"".join(_field(1, _timeseries(one)) for one in series)


def _timeseries(series: Series) -> bytes:
    labels = b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in series.labels)
    values = series.values.astype("<f8").tobytes()
    samples = (
        _field(2, b"\x09" + values[8 * index : 8 * index + 8] + b"\x10" + _varint(int(time)))
        for index, time in enumerate(series.times_ms)
    )
    return labels + b"".join(samples)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _snappy(data: bytes) -> bytes:
    """Snappy's block format, made of literals alone."""
    parts = [_varint(len(data))]
    for start in range(0, len(data), _LITERAL):
        literal = data[start : start + _LITERAL]
        parts += [struct.pack("<BH", 61 << 2, len(literal) - 1), literal]
    return b"".join(parts)
