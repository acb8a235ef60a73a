"""Reading the line-by-line tables of /proc, with errors that say where."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from exporter.roots import read_text

T = TypeVar("T")


def parse_lines(path: Path, parse: Callable[[str], T], *, header: int = 0) -> list[T]:
    """What `parse` makes of each line below the header. Its ValueError is raised with file and line; raises OSError."""
    parsed: list[T] = []
    for line in read_text(path).splitlines()[header:]:
        try:
            parsed.append(parse(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {header + len(parsed) + 1}: {error}") from error
    return parsed


def integers(line: str, count: int, base: int = 10) -> list[int]:
    """The numbers of a line that has at least `count`. Raises ValueError."""
    numbers = [int(number, base) for number in line.split()]
    if len(numbers) < count:
        raise ValueError(f"{len(numbers)} columns where there should be {count} or more: {line!r}")
    return numbers
