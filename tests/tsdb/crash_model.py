"""What a store must hold after a crash: a plain dictionary, and how what was read is compared with it."""

from collections.abc import Sequence

from common.labels import Labels
from tests.tsdb.crash_workload import Write
from tests.tsdb.reading import Samples


class Model:
    """The samples of a store, those before `horizon_ms` left out: the retention may have removed them."""

    def __init__(self) -> None:
        self.horizon_ms = -(10**18)
        self._samples: dict[Labels, dict[int, int]] = {}
        # Every value ever written to a place, stored or not.
        self._ever: dict[Labels, dict[int, set[int]]] = {}

    def write(self, write: Write) -> None:
        """Store a batch: the last write of a series and time counts."""
        for labels, time_ms, value in write.samples():
            self.put(labels, time_ms, value)

    def put(self, labels: Labels, time_ms: int, value: int) -> None:
        """Store the bits of one value."""
        if time_ms >= self.horizon_ms:
            self._samples.setdefault(labels, {})[time_ms] = value
        self._ever.setdefault(labels, {}).setdefault(time_ms, set()).add(value)

    def may_write(self, write: Write) -> None:
        """Say that a batch may or may not be stored."""
        for labels, time_ms, value in write.samples():
            self._ever.setdefault(labels, {}).setdefault(time_ms, set()).add(value)

    def samples(self) -> dict[Labels, dict[int, int]]:
        """By label set: milliseconds to the bits of the value. To be read only."""
        return self._samples

    def settle(self, found: Samples, unsure: Sequence[Write]) -> int:
        """Take up as many of the batches not acknowledged, in their order, as were stored; how many they are.

        Raises AssertionError where what was found is not what some number of them leaves behind.
        """
        for write in unsure:
            self.may_write(write)
        first = self.difference(found)
        if first is None:
            return 0
        for count, write in enumerate(unsure, 1):
            self.write(write)
            if self.difference(found) is None:
                return count
        raise AssertionError(f"{first}\n{self.difference(found)} (with all {len(unsure)} that were not acknowledged)")

    def difference(self, found: Samples) -> str | None:
        """What is wrong with what was found, or None."""
        for labels in self._samples.keys() | found.keys():
            expected = self._samples.get(labels, {})
            there = dict(found.get(labels, ()))
            if expected == there:
                continue
            for time_ms, value in expected.items():
                if time_ms not in there:
                    return f"lost: {labels} at {time_ms} with {value:#x}; horizon {self.horizon_ms}"
            for time_ms, value in there.items():
                if value not in self._ever.get(labels, {}).get(time_ms, ()):
                    return f"never written: {labels} at {time_ms} with {value:#x}"
                if time_ms >= self.horizon_ms and value != expected.get(time_ms):
                    return f"not the last: {labels} at {time_ms} with {value:#x}, not {expected.get(time_ms)}"
        return None

    def expire(self, before_ms: int) -> None:
        """What lies before a time may be removed from now on; until it is, it can be read."""
        self.horizon_ms = max(self.horizon_ms, before_ms)
        for samples in self._samples.values():
            for time_ms in [time_ms for time_ms in samples if time_ms < self.horizon_ms]:
                del samples[time_ms]

    def delete(self, found: Samples) -> None:
        """What was found is deleted: it must not come back, unless it is written again."""
        for labels, samples in found.items():
            for time_ms, _ in samples:
                self._samples.get(labels, {}).pop(time_ms, None)
                self._ever.get(labels, {}).pop(time_ms, None)

    def forget_removed(self, found: Samples) -> None:
        """What the retention has removed must not come back."""
        for labels, values in self._ever.items():
            there = dict(found.get(labels, ()))
            for time_ms in [time_ms for time_ms in values if time_ms < self.horizon_ms and time_ms not in there]:
                del values[time_ms]
