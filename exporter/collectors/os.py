"""The operating system's name and version (os-release(5))."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_INFO_LABELS = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
]
_INFO_HELP = f"A metric with a constant '1' value labeled by {', '.join(_INFO_LABELS)}."
_MAJOR_MINOR = re.compile(r"[0-9]+\.?[0-9]*")


class OsCollector:
    """`node_os_info`, `node_os_version`, `node_os_support_end_timestamp_seconds`."""

    def __init__(self, roots: Roots) -> None:
        self._paths = [roots.rootfs / "etc/os-release", roots.rootfs / "usr/lib/os-release"]
        self._read: tuple[Path, int] | None = None
        self._families: list[Family] = []

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        newest = self._find()
        if newest != self._read:
            try:
                self._families = list(_families(_parse(read_text(newest[0]))))
            except ValueError as error:
                raise ValueError(f"{newest[0]}: {error}") from error
            self._read = newest
        yield from self._families

    def _find(self) -> tuple[Path, int]:
        """The file that counts, with its time of modification."""
        for path in self._paths:
            try:
                return path, path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        raise NoDataError(f"none of {', '.join(map(str, self._paths))} exists")


def _parse(os_release: str) -> dict[str, str]:
    """The assignments of the file, which is a fragment of shell, by their names in lower case."""
    found = {}
    for line in os_release.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            found[name.lower()] = " ".join(shlex.split(value, comments=True))
    return found


def _families(release: dict[str, str]) -> Iterator[Family]:
    info = label_text(**{name: release.get(name, "") for name in _INFO_LABELS})
    yield Family.single("node_os_info", "gauge", _INFO_HELP, 1, info)
    version = _MAJOR_MINOR.match(release.get("version_id", ""))
    if version and float(version[0]):
        labels = label_text(**{name: release.get(name, "") for name in ("id", "id_like", "name")})
        help_text = "Metric containing the major.minor part of the OS version."
        yield Family.single("node_os_version", "gauge", help_text, float(version[0]), labels)
    if support_end := release.get("support_end"):
        end_s = datetime.strptime(support_end, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        help_text = "Metric containing the end-of-life date timestamp of the OS."
        yield Family.single("node_os_support_end_timestamp_seconds", "gauge", help_text, end_s)
