"""The flags of `fleetwatch exporter`, spelled as node_exporter's are.

The flags of collectors are made from the options of each: a new option is a flag and a key of the YAML file at once.
What flags give goes over what the file gives.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from common.durations import DurationError, format_duration, parse_duration
from common.logs import set_up_logging
from common.yamlfile import Duration, convert, loads, read_text
from exporter.catalog import COLLECTORS
from exporter.settings import ExporterSettings, PathSettings, WebSettings

_SPELLINGS = {
    "collector_deadline": "collector.deadline",
    "collectors.cpu.info_bugs_include": "collector.cpu.info.bugs-include",
    "collectors.cpu.info_flags_include": "collector.cpu.info.flags-include",
    "collectors.powersupplyclass.ignored_supplies": "collector.powersupply.ignored-supplies",
    "disable_defaults": "collector.disable-defaults",
    "path.udev_data": "path.udev.data",
    "state_directory": "state.directory",
    "web.config_file": "web.config.file",
}
"""Flags that are not just the key path with dashes."""

_HELP = {
    "collector_deadline": "How long a collector may take until the scrape goes on without it.",
    "disable_defaults": "Run only the collectors that are enabled by a flag.",
    "path.procfs": "Where the host's /proc is mounted.",
    "path.rootfs": "Where the host's root is mounted.",
    "path.sysfs": "Where the host's /sys is mounted.",
    "path.udev_data": "Where the host's udev keeps its data.",
    "state_directory": "Directory of what the exporter keeps: this host's identity.",
    "web.listen_address": "Address to serve at, like :9100 or [::1]:9100; repeatable.",
    "web.telemetry_path": "Path of the metrics.",
    "web.config_file": "File that sets up TLS and authentication.",
    "web.max_requests": "How many scrapes may wait or run at a time; 0 is no limit.",
    "web.disable_exporter_metrics": "Leave out the metrics of the exporter itself (process_*, python_*).",
}


def run(arguments: Sequence[str]) -> None:
    """Serve with the settings that the arguments give until a signal stops it. Raises FleetwatchError."""
    # Imported here as it brings the HTTP server, which wrong flags do not need.
    from fleetwatch.exporter_process import run_exporter

    parsed = vars(parser().parse_args(arguments))
    file: Path | None = parsed.pop("config.file")
    set_up_logging(parsed.pop("log.level"), parsed.pop("log.format"))
    flags = {key_path: value for key_path, value in parsed.items() if value is not None}
    run_exporter(settings_of(file, flags), file.parent if file else Path())


def parser() -> argparse.ArgumentParser:
    """All flags; those of settings leave their value under the setting's key path, like `web.max_requests`."""
    made = argparse.ArgumentParser(
        prog="fleetwatch exporter",
        usage="%(prog)s [--flag=value ...]",
        description="Serve this host's metrics, under node_exporter's names.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--config.file", metavar="FILE", type=Path, help="YAML file with the same settings; flags win.")
    add("--log.level", choices=["debug", "info", "warn", "error"], default="info", help="What to log.")
    add("--log.format", choices=["logfmt", "json"], default="logfmt", help="Form of the log.")
    for key, struct in (("web", WebSettings), ("path", PathSettings), ("", ExporterSettings)):
        for field in msgspec.structs.fields(struct):
            key_path = f"{key}.{field.name}".lstrip(".")
            if key_path in _HELP:
                _add(made, key_path, field.default, _HELP[key_path])
    for name, kind in sorted(COLLECTORS.items()):
        default = "enabled" if kind.enabled else "disabled"
        switch = f"--collector.{name}"
        text = f"Run this collector (default: {default})."
        add(switch, dest=f"collectors.{name}.enabled", action=argparse.BooleanOptionalAction, help=text)
        for field in msgspec.structs.fields(kind.options):
            _add(made, f"collectors.{name}.{field.name}", field.default, f"Option of the collector {name}.")
    return made


def _add(made: argparse.ArgumentParser, key_path: str, default: Any, text: str) -> None:
    """Add the flag of one setting, of the kind that its default has; a default of nothing is not worth a word."""
    spelling = _SPELLINGS.get(key_path) or key_path.replace("collectors.", "collector.").replace("_", "-")
    flag = f"--{spelling}"
    if isinstance(default, bool):
        made.add_argument(flag, dest=key_path, action=argparse.BooleanOptionalAction, help=text)
        return
    shown = format_duration(default) if isinstance(default, Duration) else default
    if shown not in ("", ()):
        text = f"{text} [{', '.join(shown) if isinstance(shown, tuple) else shown}]".replace("%", "%%")
    if isinstance(default, tuple):
        made.add_argument(flag, dest=key_path, action="append", metavar="VALUE", help=text)
    elif isinstance(default, Duration):
        made.add_argument(flag, dest=key_path, type=_duration_text, metavar="DURATION", help=text)
    else:
        made.add_argument(flag, dest=key_path, type=type(default), metavar="VALUE", help=text)


def _duration_text(text: str) -> str:
    try:
        parse_duration(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def settings_of(file: Path | None, flags: Mapping[str, Any]) -> ExporterSettings:
    """The settings of the file, and over them those of the flags, by key path. Raises ConfigError."""
    document: dict[str, Any] = {}
    if file is not None:
        import yaml

        text = read_text(file)
        loads(text, ExporterSettings, name=str(file))
        document = yaml.safe_load(text) or {}
    for key_path, value in flags.items():
        _put(document, key_path.split("."), value)
    return convert(document, ExporterSettings)


def _put(document: dict[str, Any], key_path: list[str], value: Any) -> None:
    *sections, key = key_path
    for section in sections:
        if document.get(section) is None:
            document[section] = {}
        document = document[section]
    document[key] = value
