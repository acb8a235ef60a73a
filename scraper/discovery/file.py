"""`file_sd_configs`: target groups in JSON or YAML files, reread when they change.

The directories of the patterns are watched; `refresh_interval` is the fallback for what no watch can see (network
file systems, a directory made later). A file that cannot be read or understood keeps its last groups.
"""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from common.yamlfile import ConfigError, Duration, Problem, load
from scraper.discovery.model import Publish, Surroundings, TargetGroup
from scraper.discovery.static import StaticConfig
from scraper.discovery.watch import DirectoryWatcher

log = logging.getLogger(__name__)

FILE_PATTERN = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")

_json_groups = msgspec.json.Decoder(list[StaticConfig])


class FileSDConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Patterns of files; relative ones start at the directory of the config file."""

    files: tuple[str, ...] = ()
    refresh_interval: Duration = Duration(5 * 60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.files:
            yield Problem(f"{path}.files", "names no files")
        for pattern in self.files:
            if not FILE_PATTERN.fullmatch(pattern):
                message = f"{pattern!r} must end in .json, .yml or .yaml, with a * in the file name at most"
                yield Problem(f"{path}.files", message)

    def discoverer(self, surroundings: Surroundings) -> "FileDiscovery":
        """See SDConfig."""
        return FileDiscovery(self, surroundings.directory, surroundings.watcher)


class FileDiscovery:
    """Publishes the groups of all files that match, each with the label `__meta_filepath`."""

    def __init__(self, config: FileSDConfig, directory: Path, watcher: DirectoryWatcher) -> None:
        self._patterns = [directory / pattern for pattern in config.files]
        self._refresh_s = config.refresh_interval / 1000
        self._watcher = watcher
        self._groups: dict[Path, list[TargetGroup]] = {}

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        changed = asyncio.Event()
        directories = {pattern.parent for pattern in self._patterns}
        async with self._watcher.watching(directories, changed):
            while True:
                changed.clear()
                self._groups = await asyncio.to_thread(self._read)
                publish([group for groups in self._groups.values() for group in groups])
                try:
                    async with asyncio.timeout(self._refresh_s):
                        await changed.wait()
                except TimeoutError:
                    self._watcher.update()  # a directory may exist by now

    def _read(self) -> dict[Path, list[TargetGroup]]:
        paths = sorted({path for pattern in self._patterns for path in pattern.parent.glob(pattern.name)})
        return {path: self._read_file(path) for path in paths}

    def _read_file(self, path: Path) -> list[TargetGroup]:
        try:
            configs = read_groups(path)
        except ConfigError as error:
            kept = self._groups.get(path, [])
            log.warning(
                "target file cannot be used, its last targets are kept",
                extra={"file": str(path), "kept_groups": len(kept), "error": str(error)},
            )
            return kept
        return [config.group(f"{path}:{index}", __meta_filepath=str(path)) for index, config in enumerate(configs)]


def read_groups(path: Path) -> list[StaticConfig]:
    """The groups of a file. Raises ConfigError."""
    if path.suffix.lower() != ".json":
        return load(path, list[StaticConfig])
    try:
        return _json_groups.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except msgspec.MsgspecError as error:
        raise ConfigError([f"{path}: {error}"]) from error
