"""`scrape_config_files`: jobs in files of their own, taken as if they stood in the config file.

File names in such a job are relative to its file; once read they are relative to the config file like all others.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from common.yamlfile import ConfigError, Problem, load
from scraper.config import ScrapeConfig, ScrapeSettings
from scraper.config_checks import check_jobs

S = TypeVar("S", bound=msgspec.Struct)

MoreChecks = Callable[[Iterable[ScrapeConfig], Path], Iterator[Problem]]


class JobFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that `scrape_config_files` names."""

    scrape_configs: tuple[ScrapeConfig, ...] = ()


@dataclass(slots=True)
class FoundJobs:
    """The jobs of all files, and a line of text for everything wrong in them."""

    jobs: list[ScrapeConfig] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_job_files(settings: ScrapeSettings, directory: Path, also: MoreChecks = lambda *_: iter(())) -> FoundJobs:
    """Read the files that match the patterns, which are relative to `directory`.

    `also` may find more that is wrong with the jobs of a file that is sound in itself; it gets their directory.
    """
    found = FoundJobs()
    named = {job.job_name: "the config file" for job in settings.scrape_configs}
    for pattern in settings.scrape_config_files:
        for path in matching_files(pattern, directory):

            def check(file: JobFile, path: Path = path) -> Iterator[Problem]:
                problems = list(check_jobs(file.scrape_configs, settings.global_, named, str(path)))
                yield from problems or also(file.scrape_configs, path.parent)

            try:
                file = load(path, JobFile, check)
            except ConfigError as error:
                found.problems += error.problems
            else:
                found.jobs += [rebased(job, Path(pattern).parent) for job in file.scrape_configs]
    return found


def matching_files(pattern: str, directory: Path) -> list[Path]:
    """The files, sorted, that a pattern relative to `directory` stands for; it may have a `*` in the file name."""
    whole = directory / pattern
    return sorted(whole.parent.glob(re.sub(r"\*+", "*", whole.name)))


def rebased(config: S, directory: Path) -> S:
    """The config with the files that it names, in keys `files` and `*_file`, joined to `directory`."""
    return msgspec.structs.replace(
        config, **{key: _rebased(key, getattr(config, key), directory) for key in config.__struct_fields__}
    )


def _rebased(key: str, value: Any, directory: Path) -> Any:
    match value:
        case msgspec.Struct():
            return rebased(value, directory)
        case str() if value and (key.endswith("_file") or key == "files"):
            return str(directory / value)
        case tuple():
            return tuple([_rebased(key, item, directory) for item in value])
        case dict():
            return {name: _rebased(name, item, directory) for name, item in value.items()}
    return value
