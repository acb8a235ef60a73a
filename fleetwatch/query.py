"""`fleetwatch query`: ask a server over the Prometheus HTTP API and print the answer, or how it came about."""

import json
import time as clock
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.table import Table

from common.durations import format_duration, parse_duration
from common.errors import FleetwatchError
from common.labels import Labels

TIMEOUT_S = 130  # a little over the server's own limit for a query
RANGE_POINTS = 250  # steps of a range query where --step is not given


class QueryError(FleetwatchError):
    """The server did not answer, or answered with an error."""


def run_query(expr: str, url: str, time: str | None, over: str | None, step: str | None, as_json: bool) -> None:
    """Query and print. Raises QueryError."""
    if over is None:
        answer = _ask(url, "query", {"query": expr} | _times(time, over, step))
    else:
        answer = _ask(url, "query_range", {"query": expr} | _times(time, over, step))
    for warning in [*answer.get("warnings", []), *answer.get("infos", [])]:
        typer.echo(warning, err=True)
    if as_json:
        typer.echo(json.dumps(answer["data"]))
    else:
        _print(answer["data"])


def run_explain(expr: str, url: str, time: str | None, over: str | None, step: str | None, as_json: bool) -> None:
    """Print what a query does: its plan with series and times. Raises QueryError."""
    data = _ask(url, "fleetwatch/explain", {"query": expr} | _times(time, over, step))["data"]
    if as_json:
        typer.echo(json.dumps(data))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("PLAN", overflow="fold")
    for heading in ("SERIES", "MS"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in data["plan"]:
        series = "" if line["series"] is None else str(line["series"])
        milliseconds = "" if line["seconds"] is None else f"{line['seconds'] * 1000:.1f}"
        table.add_row("  " * line["depth"] + line["node"], series, milliseconds, "; ".join(line["notes"]))
    Console(soft_wrap=True, markup=False, highlight=False).print(table)
    timings, samples = data["stats"]["timings"], data["stats"]["samples"]
    typer.echo(
        f"\nfetched in {timings['queryPreparationTime'] * 1000:.1f} ms, evaluated in"
        f" {timings['innerEvalTime'] * 1000:.1f} ms, sorted in {timings['resultSortTime'] * 1000:.1f} ms;"
        f" {samples['totalQueryableSamples']} samples looked at; about {data['estimatedBytes'] / 2**20:.1f} MiB"
    )


def _times(time: str | None, over: str | None, step: str | None) -> dict[str, str]:
    """The parameters of an instant query, or of a range query where there is a range."""
    if over is None:
        return {"time": time} if time else {}
    over_ms = parse_duration(over)
    end_s = _seconds(time) if time else clock.time()
    step = step or format_duration(max(1000, over_ms // RANGE_POINTS // 1000 * 1000))
    return {"start": f"{end_s - over_ms / 1000:.3f}", "end": f"{end_s:.3f}", "step": step}


def _seconds(time: str) -> float:
    try:
        return float(time)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        raise QueryError(f'"{time}" is no time: write seconds since the epoch or RFC 3339') from None


def _ask(url: str, endpoint: str, parameters: dict[str, str]) -> dict[str, Any]:
    request = Request(f"{url.rstrip('/')}/api/v1/{endpoint}", urlencode(parameters).encode())
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            body = response.read()
    except HTTPError as error:
        body = error.read()
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise QueryError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error
    try:
        answer: dict[str, Any] = json.loads(body)
        status = answer["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise QueryError(f"{url} is no Prometheus-compatible server: its answer is not the API's JSON") from error
    if status != "success":
        raise QueryError(f"{answer.get('errorType', 'error')}: {answer.get('error', 'unknown error')}")
    return answer


def _print(data: dict[str, Any]) -> None:
    console = Console(soft_wrap=True, markup=False, highlight=False)
    result = data["result"]
    if data["resultType"] in ("scalar", "string"):
        console.print(result[1])
        return
    if not result:
        typer.echo("no series", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("SERIES", overflow="fold")
    if data["resultType"] == "vector":
        table.add_column("VALUE", justify="right")
        for series in result:
            table.add_row(_name(series), series["value"][1])
    else:
        for heading in ("SAMPLES", "FIRST", "LAST", "LAST VALUE"):
            table.add_column(heading, justify="right", no_wrap=True)
        for series in result:
            values = series["values"]
            table.add_row(_name(series), str(len(values)), _clock(values[0][0]), _clock(values[-1][0]), values[-1][1])
    console.print(table)


def _name(series: dict[str, Any]) -> str:
    return str(Labels.of(series["metric"])) or "{}"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
