"""What a query took, in the names of Prometheus's API (util/stats/query_stats.go)."""

from typing import Any

from promql.stats import QueryStats
from server.numbertext import format_time
from tsdb.model import IntArray


def shown_stats(stats: QueryStats, queued_s: float) -> dict[str, Any]:
    """`stats` of an answer; `rollupsUsed` is our own."""
    return {
        "timings": {
            "evalTotalTime": stats.total_s,
            "resultSortTime": stats.sort_s,
            "queryPreparationTime": stats.prepare_s,
            "innerEvalTime": stats.evaluate_s,
            "execQueueTime": queued_s,
            "execTotalTime": queued_s + stats.total_s,
        },
        "samples": {"totalQueryableSamples": stats.samples.total, "peakSamples": stats.peak_samples},
        "rollupsUsed": stats.rollups,
    }


def samples_per_step(stats: QueryStats, times_ms: IntArray) -> list[list[float]]:
    """`totalQueryableSamplesPerStep`: [seconds, samples] of each step."""
    counts = stats.samples.per_step.tolist()
    return [[float(format_time(at)), count] for at, count in zip(times_ms.tolist(), counts, strict=True)]
