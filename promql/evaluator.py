"""What functions, aggregations and operators need of the evaluation they are part of."""

from collections.abc import Iterator
from typing import Protocol

from promql.annotations import Annotations
from promql.nodes import Node, VectorSelector
from promql.vector import Grid, StepVector
from promql.windows import Windows
from tsdb.model import FloatArray


class Evaluator(Protocol):
    """Evaluates child nodes on the steps of a grid; raises PromQLError."""

    annotations: Annotations
    query: Grid
    """The steps of the whole query."""
    query_end_ms: int
    """The end of the whole query, which need not be a step."""

    def vector(self, node: Node, grid: Grid) -> StepVector:
        """An instant vector."""

    def slices(self, node: Node, grid: Grid) -> Iterator[StepVector] | None:
        """An instant vector a few series at a time, in their order; None where it comes as a whole."""

    def scalar(self, node: Node, grid: Grid) -> FloatArray:
        """A scalar at each step, float64[K]."""

    def windows(self, node: Node, grid: Grid) -> list[Windows]:
        """A range vector."""

    def text(self, node: Node) -> str:
        """A string."""

    def sample_times(self, node: VectorSelector, grid: Grid) -> StepVector:
        """The times in milliseconds of the samples a selector finds, not of the steps they stand for."""
