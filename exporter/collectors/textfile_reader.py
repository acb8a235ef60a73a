"""One file of the textfile collector: read whole, checked whole, and kept as finished lines until it changes."""

import errno
import os
import re
import stat
from dataclasses import dataclass, field

from common.labels import Labels
from exporter.registry import sample_names
from exposition.errors import ExpositionError
from exposition.lexing import Cursor
from exposition.model import Exposition, Metadata, Sample
from exposition.text import parse_text, read_text_comment, read_text_series
from exposition.writer import label_text, number_text

MAX_BYTES = 16 * 1024 * 1024
"""What a cron job writes into one file is far below; more would be a mistake that fills the memory."""

_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NUMBERS = {"histogram": "le", "summary": "quantile"}
"""The labels that are numbers, by type."""


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
    ctime_ns: int
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
    return Version(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def read_textfile(path: str) -> dict[str, TextFamily]:
    """The families of a file in the text format 0.0.4. Raises TextfileError."""
    body = _read(path)
    if body and not body.endswith(b"\n"):
        raise TextfileError("its last line has no end: it is half written, or a line feed is missing")
    try:
        exposition = parse_text(body)
    except ExpositionError as error:
        raise TextfileError(str(error)) from error
    reader = _Reader(exposition)
    for number, line in enumerate(body.split(b"\n"), start=1):
        try:
            reader.read_line(Cursor(line.lstrip(b" \t")))
        except ExpositionError as error:
            # The file as a whole is right, so it must be this that its lines are not.
            raise TextfileError(f"line {number}: a label value has a line feed in it: write it as \\n") from error
        except TextfileError as error:
            raise TextfileError(f"line {number}: {error}") from error
    return reader.families


class _Reader:
    """Takes a file that has been parsed line by line, to keep the lines and to see their order."""

    def __init__(self, exposition: Exposition) -> None:
        self.families: dict[str, TextFamily] = {}
        self._metadata = exposition.metadata
        self._samples = iter(exposition.samples)
        self._comments: set[tuple[str, str]] = set()

    def read_line(self, cursor: Cursor) -> None:
        """Raises TextfileError, and ExpositionError for a part of a line."""
        if cursor.body.startswith(b"#"):
            self._read_comment(cursor)
        elif cursor.body:
            # Read once more without the rules for the labels `le` and `quantile`: they are served as they were written.
            self._add(read_text_series(cursor, "unknown"), next(self._samples))

    def _read_comment(self, cursor: Cursor) -> None:
        comment = read_text_comment(cursor)
        if comment is None:
            return
        if (comment.keyword, comment.family) in self._comments:
            raise TextfileError(f"a second {comment.keyword} of {comment.family}")
        if comment.keyword == "TYPE" and comment.family in self.families:
            raise TextfileError(f"the TYPE of {comment.family} comes after its samples")
        self._comments.add((comment.keyword, comment.family))

    def _add(self, labels: Labels, sample: Sample) -> None:
        name = labels.metric_name
        if sample.time_ms is not None:
            raise TextfileError("has a timestamp, and what is scraped here is always of now")
        others = dict(labels.without("__name__"))
        if not all(_PLAIN_NAME.fullmatch(part) for part in (name, *others)):
            raise TextfileError(f"{name!r} or a label of it is no plain name")
        if reserved := [part for part in others if part.startswith("__")]:
            raise TextfileError(f"the label {reserved[0]} is reserved: names of labels do not start with __")
        family = self._family(name)
        if (text := others.get(_NUMBERS.get(family.type, ""))) is not None and not _is_number(text):
            raise TextfileError(f"{text!r} is no number, as {_NUMBERS[family.type]} is of a {family.type}")
        series = name + (label_text(**others) if others else "")
        if series in family.series:
            raise TextfileError(f"{series} is there twice")
        family.series.add(series)
        family.lines.append(f"{series} {number_text(sample.value)}\n")

    def _family(self, sample_name: str) -> TextFamily:
        name = self._family_name(sample_name)
        if name not in self.families:
            known = self._metadata.get(name, Metadata())
            self.families[name] = TextFamily(known.type, known.help or None)
        return self.families[name]

    def _family_name(self, sample_name: str) -> str:
        """Histograms and summaries have samples of other names."""
        for suffix in ("_bucket", "_sum", "_count"):
            name = sample_name.removesuffix(suffix)
            known = self._metadata.get(name)
            if name != sample_name and known is not None and sample_name in sample_names(name, known.type):
                return name
        return sample_name


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
