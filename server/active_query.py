"""A query of a client, from its request to the last byte of its answer."""

import time
from dataclasses import dataclass, field

from promql.memory import Claim
from tsdb.cancellation import Cancellation


@dataclass(slots=True, eq=False)
class ActiveQuery:
    """`begun_s` is None while it waits. Seconds are monotonic."""

    number: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    path: str
    method: str
    client: str
    memory: Claim
    cancellation: Cancellation = field(default_factory=Cancellation)
    accepted_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    accepted_s: float = field(default_factory=time.monotonic)
    begun_s: float | None = None

    def begin(self) -> None:
        """It has left the queue."""
        self.begun_s = time.monotonic()

    @property
    def queued_s(self) -> float:
        """How long it waited."""
        return (time.monotonic() if self.begun_s is None else self.begun_s) - self.accepted_s
