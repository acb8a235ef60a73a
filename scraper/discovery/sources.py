"""Which discoverers a job has. A new kind of discovery is a module and a line here."""

from collections.abc import Iterator
from pathlib import Path

from scraper.config import ScrapeConfig
from scraper.discovery.file import FileDiscovery, FileSDConfig
from scraper.discovery.model import Discoverer
from scraper.discovery.static import StaticConfig, StaticDiscovery
from scraper.discovery.watch import DirectoryWatcher

SourceConfig = tuple[StaticConfig, ...] | FileSDConfig
"""What one discoverer is made of; an unchanged one keeps running over a reload."""


def source_configs(job: ScrapeConfig) -> Iterator[SourceConfig]:
    """The sources of a job; all static groups are one."""
    yield job.static_configs
    yield from job.file_sd_configs


def discoverer(config: SourceConfig, directory: Path, watcher: DirectoryWatcher) -> Discoverer:
    """The discoverer of a source; relative files start at `directory`."""
    if isinstance(config, FileSDConfig):
        return FileDiscovery(config, directory, watcher)
    return StaticDiscovery(config)
