"""`fleetwatch db usage`."""

import json
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from common.durations import DurationError, format_duration, parse_duration
from fleetwatch.db.arguments import shown_time
from fleetwatch.db.places import Place
from fleetwatch.errors import StartError
from scraper.drop_rules import drop_rule, rule_as_yaml
from tsdb.embedded.usage_rows import read_usage
from tsdb.usage import Usage, is_unread


def run_usage(place: Place, unused_for: str, limit: int, as_json: bool) -> None:
    """Look and print. Raises StartError for a bad duration, StoreOpenError, StoreError."""
    try:
        unused_for_ms = parse_duration(unused_for)
    except DurationError as error:
        raise StartError(f"--unused-for: {error}") from error
    before_ms = time.time_ns() // 1_000_000 - unused_for_ms
    usage = _read(place).unread_first(before_ms, limit)
    rule = drop_rule(metric.name for metric in usage.metrics if is_unread(metric, before_ms))
    if as_json:
        typer.echo(json.dumps(_as_json(usage, before_ms) | {"drop_rule": rule}))
        return
    _print_table(usage)
    if rule is None:
        return
    typer.echo(f"\n# Nobody has read these for {format_duration(unused_for_ms)}; in their jobs, this drops them:")
    if usage.counted_since_ms > before_ms:
        typer.echo(f"# Mind that reads are counted only since {shown_time(usage.counted_since_ms)} UTC.")
    typer.echo(rule_as_yaml(rule), nl=False)


def _read(place: Place) -> Usage:
    if not place.is_database:
        return read_usage(Path(place.spec))
    from fleetwatch.db.stores import opened_database  # heavy, and of no use to a directory

    with opened_database(place) as store:
        return store.usage()


def _print_table(usage: Usage) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("series", justify="right")
    table.add_column("reads", justify="right")
    table.add_column("last read (UTC)")
    for metric in usage.metrics:
        last_read = "never" if metric.last_read_ms is None else shown_time(metric.last_read_ms)
        table.add_row(metric.name, f"{metric.series:,}", f"{metric.reads:,}", last_read)
    Console(soft_wrap=True, markup=False, highlight=False).print(table)


def _as_json(usage: Usage, before_ms: int) -> dict[str, object]:
    return {
        "counted_since_ms": usage.counted_since_ms,
        "metrics": [
            {
                "name": metric.name,
                "series": metric.series,
                "reads": metric.reads,
                "last_read_ms": metric.last_read_ms,
                "unused": is_unread(metric, before_ms),
            }
            for metric in usage.metrics
        ],
    }
