"""One file of the textfile collector: read whole, checked whole, and kept as finished lines until it changes."""

import errno
import os
import re
import stat
from dataclasses import dataclass, field

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.lexing import Cursor
from exposition.model import Exposition, Metadata
from exposition.text import parse_text, read_text_series
from exposition.writer import label_text, number_text

MAX_BYTES = 16 * 1024 * 1024
"""What a cron job writes into one file is far below; more would be a mistake that fills the memory."""

_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


class TextfileError(Exception):
    """A file that is not served; says why, with the line where there is one."""


@dataclass(slots=True)
class TextFamily:
    """A metric of a file: `help` is None where the file says nothing. `series` are the lines up to the value."""

    type: str
    help: str | None
    lines: list[str] = field(default_factory=list)
    series: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Version:
    """Which state of a file: it is read again when this changes."""

    mtime_ns: int
    size: int
    inode: int


def version_of(path: str) -> Version:
    """Raises TextfileError for what is no regular file, or gone."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise TextfileError(f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise TextfileError("is no regular file")
    return Version(status.st_mtime_ns, status.st_size, status.st_ino)


def read_textfile(path: str) -> dict[str, TextFamily]:
    """The families of a file in the text format 0.0.4. Raises TextfileError."""
    body = _read(path)
    try:
        exposition = parse_text(body)
    except ExpositionError as error:
        raise TextfileError(str(error)) from error
    families: dict[str, TextFamily] = {}
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if _is_sample(line)]
    if len(lines) != len(exposition.samples):
        raise TextfileError("a label value has a line feed in it: write it as \\n")
    for (number, line), sample in zip(lines, exposition.samples, strict=True):
        if sample.time_ms is not None:
            raise TextfileError(f"line {number}: has a timestamp, and what is scraped here is always of now")
        # Read once more without the rules for the labels `le` and `quantile`: they are served as they were written.
        labels = read_text_series(Cursor(line), "unknown")
        _add(families, exposition, labels, sample.value, number)
    return families


def _read(path: str) -> bytes:
    try:
        # Not to hang on what has just become a FIFO.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as opened:
            body = opened.read(MAX_BYTES + 1)
    except OSError as error:
        text = "is a FIFO" if error.errno == errno.ENXIO else error.strerror
        raise TextfileError(f"cannot be read: {text}") from error
    if len(body) > MAX_BYTES:
        raise TextfileError(f"has more than {MAX_BYTES} bytes")
    return body


def _is_sample(line: bytes) -> bool:
    stripped = line.lstrip(b" \t")
    return bool(stripped) and not stripped.startswith(b"#")


def _add(families: dict[str, TextFamily], exposition: Exposition, labels: Labels, value: float, number: int) -> None:
    name = labels.metric_name
    if not all(_PLAIN_NAME.fullmatch(part) for part, _ in labels) or not _PLAIN_NAME.fullmatch(name):
        raise TextfileError(f"line {number}: {name!r} or a label of it is no plain name")
    family_name = _family_of(name, exposition)
    if family_name not in families:
        known = exposition.metadata.get(family_name, Metadata())
        families[family_name] = TextFamily(known.type, known.help or None)
    family = families[family_name]
    others = dict(labels.without("__name__"))
    series = name + (label_text(**others) if others else "")
    if series in family.series:
        raise TextfileError(f"line {number}: {series} is there twice")
    family.series.add(series)
    family.lines.append(f"{series} {number_text(value)}\n")


def _family_of(name: str, exposition: Exposition) -> str:
    """The family that a sample belongs to: histograms and summaries have samples of other names."""
    for suffix in ("_bucket", "_sum", "_count"):
        family = name.removesuffix(suffix)
        known = exposition.metadata.get(family)
        if family != name and known is not None and suffix in _SUFFIXES.get(known.type, ()):
            return family
    return name
