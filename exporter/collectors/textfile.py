"""Metrics that cron jobs and the like leave in files: `*.prom` in directories (node_exporter's textfile collector).

Each file stands for itself. One that is wrong, or repeats what an earlier file says, is left out and named; the others
are served. What is served was read when the file changed, so that an unchanged file costs a stat.
"""

import fnmatch
import glob
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from common.yamlfile import Duration
from exporter.collectors.textfile_reader import TextFamily, TextfileError, Version, read_textfile, version_of
from exporter.registry import sample_names
from exporter.roots import Roots
from exposition.writer import Family, label_text

log = logging.getLogger(__name__)

_MTIME = "node_textfile_mtime_seconds"
_ERROR = "node_textfile_scrape_error"


class TextfileOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the textfile collector. Directories may be globs.

    What a file of more than `max_age` says is not served any more; 0 serves it for ever, as node_exporter does.
    """

    directory: tuple[str, ...] = ()
    max_age: Duration = Duration(0)


@dataclass(frozen=True, slots=True)
class _File:
    """What was read of a file, and why it is not served, empty where it is."""

    version: Version | None
    families: dict[str, TextFamily]
    problem: str = ""


class TextfileCollector:
    """The files' own metrics, `node_textfile_mtime_seconds`, `node_textfile_scrape_error`."""

    def __init__(self, _roots: Roots, options: TextfileOptions, clock: Callable[[], float] = time.time) -> None:
        self._directories = options.directory
        self._max_age_s = options.max_age / 1000
        self._clock = clock
        self._files: dict[str, _File] = {}
        self._problems: dict[str, str] = {}

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        problems = self._read_changed()
        merged: dict[str, TextFamily] = {}
        origins: dict[str, list[str]] = {}
        owners = dict.fromkeys((_MTIME, _ERROR), "the exporter")
        mtimes = Family(_MTIME, "gauge", "Unixtime mtime of textfiles successfully read.")
        for path, file in self._files.items():
            problem = file.problem or _conflict(merged, owners, file.families)
            if problem or file.version is None:
                problems[path] = problem
                continue
            mtime_s = file.version.mtime_ns // 1_000_000_000
            mtimes.add(mtime_s, label_text(file=path))
            if self._max_age_s and self._clock() - mtime_s > self._max_age_s:
                continue
            for name, family in file.families.items():
                _merge(merged, name, family)
                origins.setdefault(name, []).append(path)
                owners.update(dict.fromkeys(sample_names(name, family.type), name))
        self._report(problems)
        for name, family in merged.items():
            help_text = family.help or f"Metric read from {', '.join(origins[name])}"
            yield Family(name, family.type, help_text, family.lines)
        yield mtimes
        yield _errors(problems)

    def _read_changed(self) -> dict[str, str]:
        """Read what is new; what cannot be listed comes back with the reason."""
        problems: dict[str, str] = {}
        files: dict[str, _File] = {}
        for directory in self._found_directories():
            try:
                names = sorted(fnmatch.filter(os.listdir(directory), "*.prom"))
            except OSError as error:
                problems[directory] = f"cannot be listed: {error.strerror}"
                continue
            for name in names:
                path = os.path.join(directory, name)
                files[path] = self._read(path)
        self._files = files
        return problems

    def _found_directories(self) -> Iterator[str]:
        for pattern in self._directories:
            # What matches nothing is named itself, so that a wrong path is noticed.
            yield from sorted(glob.glob(pattern)) or [pattern]

    def _read(self, path: str) -> _File:
        try:
            version = version_of(path)
            known = self._files.get(path)
            if known is not None and known.version == version:
                return known
        except TextfileError as error:
            return _File(None, {}, str(error))
        try:
            return _File(version, read_textfile(path))
        except TextfileError as error:
            return _File(version, {}, str(error))

    def _report(self, problems: dict[str, str]) -> None:
        """Log what is new: a file that stays wrong is one line and not one for each scrape."""
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                log.error("textfile is not served", extra={"file": path, "error": problem})
        self._problems = problems


def _conflict(merged: dict[str, TextFamily], owners: dict[str, str], families: dict[str, TextFamily]) -> str:
    """Why a file cannot stand beside the earlier ones; empty where it can. `owners` are the metrics by sample name."""
    for name, family in families.items():
        for sample_name in sample_names(name, family.type):
            owner = owners.get(sample_name, name)
            if owner != name:
                return f"the name {sample_name} is taken by {owner}"
        other = merged.get(name)
        if other is None:
            continue
        if other.type != family.type:
            return f"the type of {name} is {family.type} here and {other.type} in an earlier file"
        if family.help is not None and other.help is not None and family.help != other.help:
            return f"the HELP of {name} is {family.help!r} here and {other.help!r} in an earlier file"
        if repeated := other.series & family.series:
            return f"{min(repeated)} is in an earlier file too"
    return ""


def _merge(merged: dict[str, TextFamily], name: str, family: TextFamily) -> None:
    """Add a file's family."""
    other = merged.get(name)
    if other is None:
        merged[name] = family
        return
    merged[name] = TextFamily(
        family.type, other.help or family.help, other.lines + family.lines, other.series | family.series
    )


def _errors(problems: dict[str, str]) -> Family:
    """node_exporter's single series for all files, and beside it one for each file that is wrong."""
    help_text = "1 if there was an error opening or reading a file, 0 otherwise"
    family = Family.single(_ERROR, "gauge", help_text, int(bool(problems)))
    for path in problems:
        family.add(1, label_text(file=path))
    return family
