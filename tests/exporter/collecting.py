"""Collectors made as the exporter makes them, and what they give."""

from exporter.catalog import COLLECTORS
from exporter.registry import Collector
from exporter.roots import Roots
from exposition.formats import Format
from exposition.text import parse_text
from exposition.writer import write


def make(name: str, roots: Roots) -> Collector:
    """A collector with its default options."""
    kind = COLLECTORS[name]
    return kind.make(roots, kind.options())


def values(collector: Collector) -> dict[str, float]:
    """The values by series."""
    samples = parse_text(write(collector.collect(), Format.TEXT)).samples
    return {str(sample.labels): sample.value for sample in samples}
