"""Expositions that hypothesis makes up, as samples and as text in either format."""

import math
import struct
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from common.labels import METRIC_NAME, Labels, is_legacy_label_name, is_legacy_metric_name
from exposition.formats import Format
from exposition.lexing import NORMAL_NAN
from exposition.model import Exemplar, Exposition, Metadata, Sample

legacy_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = legacy_names | texts.filter(bool)
# prometheus_client refuses label names with two underscores in front; Prometheus reads them.
label_sets = st.dictionaries(names.filter(lambda name: not name.startswith("__")), texts, max_size=4)
values = st.floats() | st.integers(-(10**6), 10**6).map(float)
times_ms = st.none() | st.integers(0, 2**43)


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value).replace("inf", "Inf") if value != math.inf else "+Inf"


@dataclass
class Family:
    """One metric family: its comment lines and samples."""

    name: str
    metadata: Metadata
    samples: list[Sample]

    def lines(self, body_format: Format) -> list[str]:
        """The family as text, without line feeds."""
        spelled_name = self.name if is_legacy_metric_name(self.name) else f'"{self.name}"'
        help_text = self.metadata.help.replace("\\", r"\\").replace("\n", r"\n")
        kind = self.metadata.type
        if body_format is Format.TEXT and kind == "unknown":
            kind = "untyped"
        comments = [f"# HELP {spelled_name} {help_text}", f"# TYPE {spelled_name} {kind}"]
        return comments + [sample_line(sample, body_format) for sample in self.samples]


def series_text(labels: Labels) -> str:
    name = labels.metric_name
    quoted = [(key if is_legacy_label_name(key) else f'"{escaped(key)}"', escaped(value)) for key, value in labels]
    pairs = [f'{key}="{value}"' for key, value in quoted if key != METRIC_NAME]
    if is_legacy_metric_name(name):
        return name + ("{" + ",".join(pairs) + "}" if pairs else "")
    return "{" + ",".join([f'"{escaped(name)}"', *pairs]) + "}"


def sample_line(sample: Sample, body_format: Format) -> str:
    line = f"{series_text(sample.labels)} {spelled(sample.value)}"
    if sample.time_ms is not None:
        line += f" {sample.time_ms if body_format is Format.TEXT else seconds(sample.time_ms)}"
    if sample.exemplar is not None:
        pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in sample.exemplar.labels)
        line += f" # {{{pairs}}} {spelled(sample.exemplar.value)}"
        if sample.exemplar.time_ms is not None:
            line += f" {seconds(sample.exemplar.time_ms)}"
    return line


def seconds(time_ms: int) -> str:
    """Seconds that read back as these milliseconds although the reader cuts off: half a millisecond on top."""
    return f"{time_ms // 1000}.{time_ms % 1000:03d}5"


exemplars = st.builds(
    Exemplar,
    st.dictionaries(legacy_names, st.text('ab \\"}#', max_size=5), max_size=2).map(Labels.of),
    st.floats(allow_nan=False, allow_infinity=False),
    times_ms,
)


@st.composite
def families(draw: st.DrawFn, *, name: str, timed: bool, with_exemplars: bool) -> Family:
    """A family of a type whose samples bear its name, or its name and `_total`."""
    kind = draw(st.sampled_from(["counter", "gauge", "unknown"]))
    sample_name = f"{name}_total" if kind == "counter" else name
    sample_values = st.floats(min_value=0, allow_nan=False) if kind == "counter" else values
    label_sets_of_family = draw(st.lists(label_sets, max_size=4, unique_by=lambda labels: Labels.of(labels)))
    time_of_family = draw(times_ms) if timed else None
    samples = [
        Sample(
            Labels.of(labels | {METRIC_NAME: sample_name}),
            draw(sample_values),
            time_of_family,
            draw(st.none() | exemplars) if with_exemplars and kind == "counter" else None,
        )
        for labels in label_sets_of_family
    ]
    return Family(name, Metadata(kind, draw(texts)), samples)


@st.composite
def expositions(draw: st.DrawFn, *, timed: bool = True, with_exemplars: bool = False) -> list[Family]:
    """A few families with different names."""
    # A family's name is spelled without escapes in comment lines, so it holds nothing that needs any.
    plain = names.filter(lambda name: not set(name) & set('\\"\n'))
    family_names = draw(st.lists(plain, max_size=4, unique_by=lambda name: name.removesuffix("_total")))
    family_names = [name.removesuffix("_total") or "x" for name in family_names]
    return [
        draw(families(name=name, timed=timed, with_exemplars=with_exemplars)) for name in dict.fromkeys(family_names)
    ]


def body_of(exposition: list[Family], body_format: Format) -> bytes:
    lines = [line for family in exposition for line in family.lines(body_format)]
    if body_format is Format.OPENMETRICS:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines).encode()


def bits(exposition: Exposition) -> tuple[list[tuple[object, ...]], dict[str, Metadata]]:
    """An exposition in a form in which NaN equals NaN and 0 is not -0."""
    samples: list[tuple[object, ...]] = [
        (sample.labels, struct.pack("<d", sample.value), sample.time_ms, sample.exemplar)
        for sample in exposition.samples
    ]
    return samples, exposition.metadata


def expected(exposition: list[Family]) -> Exposition:
    """What a reader has to make of it."""
    return Exposition(
        [
            replace(sample, value=NORMAL_NAN) if math.isnan(sample.value) else sample
            for family in exposition
            for sample in family.samples
        ],
        {family.name: family.metadata for family in exposition},
    )
