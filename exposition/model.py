"""What an exposition holds: samples and metadata."""

from dataclasses import dataclass

from common.labels import Labels


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A reference, mostly to a trace, attached to a sample. `time_ms` is None where the body gave none."""

    labels: Labels
    value: float
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample line. `labels` include `__name__`; `time_ms` is None where the body gave no time."""

    labels: Labels
    value: float
    time_ms: int | None = None
    exemplar: Exemplar | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the comment lines say of a metric family. `type` is one of Prometheus's names, `unknown` by default."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Exposition:
    """A whole body: samples in order, metadata by family name."""

    samples: list[Sample]
    metadata: dict[str, Metadata]
