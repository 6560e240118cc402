"""Latency of acknowledgements: histograms since the start, and the latest values of each topic.

Each batch is observed once, by its oldest record: that is the slowest of the batch, and costs nothing per record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, Final

from prometheus_client.core import HistogramMetricFamily

from bridge.topics import OWN_RECORDS, AnyTopic, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.pipeline.partition_queue import PartitionQueue

NAMESPACE: Final = "aries_bridge"
#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS: Final = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0),
)
#: The age and the number of batches that :meth:`LatencyMetrics.recent` covers, per topic.
RECENT_SECONDS: Final = 30.0
MAX_RECENT_BATCHES: Final = 1024


class LatencyHistogram:
    """A histogram of seconds with the buckets of all latencies; the client library's costs ten times as much."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = f"{NAMESPACE}_{name}"
        self._documentation = documentation
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> HistogramMetricFamily:
        """Return it as Prometheus reads it: each bucket with all that are below."""
        bounds = (*map(str, BUCKETS), "+Inf")
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class LatencyMetrics:
    """The latencies of the batches that Kafka has acknowledged."""

    def __init__(self) -> None:
        #: Not for records of our own: they were not received.
        self.receive_to_ack = LatencyHistogram(
            "receive_to_ack_seconds",
            "Time from reading a line to Kafka's acknowledgement of its record, for the oldest record of each batch.",
        )
        self.produce_ack = LatencyHistogram(
            "produce_ack_seconds", "Time from sending a batch to Kafka's acknowledgement of it."
        )
        self._recent: Mapping[AnyTopic, deque[tuple[float, float]]] = {
            topic: deque(maxlen=MAX_RECENT_BATCHES) for topic in Topic
        }

    def acknowledged(self, queue: PartitionQueue, now: float, now_us: int) -> None:
        """Observe a queue's batch in flight, acknowledged now (monotonic seconds, and µs since the epoch)."""
        self.produce_ack.observe(now - queue.sent_at)
        if queue.topic not in OWN_RECORDS:
            seconds = max(0.0, (now_us - queue.in_flight[0][0]) / 1e6)  # the wall clock may have been set back
            self.receive_to_ack.observe(seconds)
            self._recent[queue.topic].append((now, seconds))

    def recent(self, topic: Topic, now: float) -> list[float]:
        """Return a topic's latest receive-to-acknowledgement times in seconds, shortest first."""
        return sorted(seconds for at, seconds in self._recent[topic] if now - at <= RECENT_SECONDS)


def percentile(ordered: list[float], part: float) -> float | None:
    """Return the percentile of ordered values by the nearest-rank method; None if there are none."""
    return ordered[ceil(part * len(ordered)) - 1] if ordered else None
