"""The `fleetwatch` command.

Flags that Prometheus has keep Prometheus's names. Whatever goes wrong is one line on standard error and exit
status 1; a traceback is a bug. Heavy imports happen inside the commands, so that the exporter stays small and
`--help` is instant.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from common.errors import FleetwatchError
from common.logs import set_up_logging
from fleetwatch.db_cli import db_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Prometheus-compatible monitoring for a fleet of servers.",
)
check_app = typer.Typer(no_args_is_help=True, help="Check files before they are used.")
app.add_typer(check_app, name="check")
app.add_typer(db_app, name="db")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config.file", metavar="FILE", help="A prometheus.yml; without it this host is watched."),
]
ListenAddress = Annotated[
    str, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Address of the API and the web page.")
]
WebConfigFile = Annotated[
    str, typer.Option("--web.config.file", metavar="FILE", help="File that sets up TLS and authentication.")
]
ExternalURL = Annotated[
    str, typer.Option("--web.external-url", metavar="URL", help="Where others reach this server; links lead there.")
]
EnableAdminApi = Annotated[
    bool, typer.Option("--web.enable-admin-api", help="Let the API delete series and make snapshots.")
]
StoragePath = Annotated[
    str | None,
    typer.Option(
        "--storage.path", metavar="PATH", help="Directory or DSN of the store; overrides storage.path of the file."
    ),
]
QueryTimeout = Annotated[
    str | None, typer.Option("--query.timeout", metavar="DURATION", help="The longest a query may take; 2m by default.")
]
QueryConcurrency = Annotated[
    int | None, typer.Option("--query.max-concurrency", metavar="N", help="Queries that run at once; 4 by default.")
]
QuerySamples = Annotated[
    int | None, typer.Option("--query.max-samples", metavar="N", help="Samples of one query; 50000000 by default.")
]
LookbackDelta = Annotated[
    str | None,
    typer.Option("--query.lookback-delta", metavar="DURATION", help="The age of a latest sample; 5m by default."),
]
LogLevel = Annotated[str, typer.Option("--log.level", metavar="LEVEL", help="debug, info, warn or error.")]
LogFormat = Annotated[str, typer.Option("--log.format", metavar="FORMAT", help="logfmt or json.")]

DEFAULT_LISTEN_ADDRESS = "localhost:9090"


def _log(level: str, log_format: str) -> None:
    if level not in ("debug", "info", "warn", "error"):
        raise typer.BadParameter(f"{level} is none of debug, info, warn, error", param_hint="--log.level")
    if log_format not in ("logfmt", "json"):
        raise typer.BadParameter(f"{log_format} is none of logfmt, json", param_hint="--log.format")
    set_up_logging(level, "json" if log_format == "json" else "logfmt")


def _add_process(name: str, what: str, *, scrape: bool = False, export: bool = False, head: bool = True) -> None:
    """A command that runs parts of Fleetwatch over a store; all take the same options."""

    def start(
        config_file: ConfigFile = None,
        listen_address: ListenAddress = DEFAULT_LISTEN_ADDRESS,
        web_config_file: WebConfigFile = "",
        external_url: ExternalURL = "",
        enable_admin_api: EnableAdminApi = False,
        storage_path: StoragePath = None,
        query_timeout: QueryTimeout = None,
        query_concurrency: QueryConcurrency = None,
        query_samples: QuerySamples = None,
        lookback_delta: LookbackDelta = None,
        log_level: LogLevel = "info",
        log_format: LogFormat = "logfmt",
    ) -> None:
        from fleetwatch.process import Flags, Parts, run_process
        from fleetwatch.query_config import QueryFlags

        _log(log_level, log_format)
        query = QueryFlags(query_timeout, query_concurrency, query_samples, lookback_delta)
        flags = Flags(config_file, listen_address, web_config_file, storage_path, external_url, enable_admin_api, query)
        run_process(Parts(scraper=scrape, exporter=export, head=head), flags)

    app.command(name, help=what)(start)


_add_process("run", "Everything in one process: exporter, scraper, store, API and web page.", scrape=True, export=True)
_add_process(
    "scraper", "Scrape targets into the store, and serve the API over it; no exporter.", scrape=True, head=False
)
_add_process("server", "Serve the API and the web page over a store, without scraping.")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="Serve this host's metrics at /metrics; `exporter --help` has its flags.",
)
def exporter(context: typer.Context) -> None:
    """For the list of commands; `fleetwatch.main` has run it already, without this module's imports."""
    from fleetwatch.exporter_cli import run

    run(context.args)


@app.command()
def query(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[explain] EXPR", help="A PromQL expression; `explain` shows what it does instead."),
    ],
    url: Annotated[
        str, typer.Option("--url", help="A Fleetwatch or Prometheus server.")
    ] = f"http://{DEFAULT_LISTEN_ADDRESS}",
    time: Annotated[str | None, typer.Option(help="Evaluation time: RFC 3339 or seconds; now by default.")] = None,
    over: Annotated[
        str | None, typer.Option("--range", metavar="DURATION", help="A range query over the last DURATION.")
    ] = None,
    step: Annotated[str | None, typer.Option(metavar="DURATION", help="Step of a range query.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's data as JSON.")] = False,
) -> None:
    """Ask a running server and print the answer as a table."""
    from fleetwatch.query import run_explain, run_query

    match words:
        case [expr]:
            run_query(expr, url, time, over, step, as_json)
        case ["explain", expr]:
            run_explain(expr, url, time, over, step, as_json)
        case _:
            raise typer.BadParameter("write the expression as one argument, in quotes", param_hint="EXPR")


@app.command()
def simulate(
    servers: Annotated[int, typer.Option(min=1, metavar="N", help="How many servers.")] = 100,
    series: Annotated[int, typer.Option(min=10, metavar="M", help="Samples in the body of each.")] = 500,
    churn: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Share of the series whose labels change every minute.")
    ] = 0.0,
    listen_address: Annotated[
        str, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Address of all the servers.")
    ] = "localhost:9199",
    targets_file: Annotated[Path, typer.Option(metavar="FILE", help="The file_sd file to write.")] = Path(
        "simulated-targets.json"
    ),
    seed: Annotated[int, typer.Option(metavar="S", help="Another seed is another fleet.")] = 0,
) -> None:
    """Serve the metrics of a fleet of virtual servers, and write a file_sd file that names them."""
    from fleetwatch.simulate_process import run_simulation
    from scraper.simulate.fleet import SimulatedFleet

    _log("warn", "logfmt")
    run_simulation(SimulatedFleet(servers, series, churn, seed), listen_address, targets_file)


@check_app.command("config")
def check_config(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Say everything that is wrong in config files, with line and key path."""
    from fleetwatch.config import check_config, ignored_keys, summary

    def check(path: Path) -> str:
        loaded = check_config(path)
        ignored = ", ".join(ignored_keys(loaded.config))
        return f"valid: {summary(loaded)}" + (f"\n{path}: accepted, not acted on: {ignored}" if ignored else "")

    _check_files(files, check)


@check_app.command("web-config")
def check_web_config(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Say everything that is wrong in web config files, and in the certificates that they name."""
    from common.webconfig import WebConfig

    _check_files(files, lambda path: f"valid, {'HTTPS' if WebConfig.load(path).serves_tls else 'HTTP'}")


def _check_files(files: list[Path], check: Callable[[Path], str]) -> None:
    """Print what `check` says of each file; exit with 1 where it raised a FleetwatchError for one."""
    failed = False
    for path in files:
        try:
            typer.echo(f"{path}: {check(path)}")
        except FleetwatchError as error:
            failed = True
            typer.echo(str(error), err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from fleetwatch import __version__

    typer.echo(f"fleetwatch {__version__} (Python {sys.version.split()[0]})")
