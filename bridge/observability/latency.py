"""What acknowledgements tell: how long batches took, over all time and lately.

Observed once per batch, for its oldest record: that is the worst of the batch, and costs nothing per record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final

from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.pipeline.partition_queue import PartitionQueue

#: Upper bounds of the histograms, in seconds.
BUCKETS: Final = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0),
)
#: What "lately" means, and how many batches of a topic are kept for it.
RECENT_SECONDS: Final = 30.0
MOST_RECENT: Final = 1024


class Histogram:
    """Count durations by the bucket they fall into."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a clock that was set back makes it 0, not less."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum_seconds += seconds


class LatencyMetrics:
    """Observe each batch that Kafka has acknowledged."""

    def __init__(self) -> None:
        #: From reading a line to the acknowledgement of its record; our own records on control were never read.
        self.receive_to_ack = Histogram()
        #: From handing a batch to the producer to its acknowledgement.
        self.produce = Histogram()
        self._recent: Mapping[Topic, deque[tuple[float, float]]] = {topic: deque(maxlen=MOST_RECENT) for topic in Topic}

    def acknowledged(self, queue: PartitionQueue, now: float, now_us: int) -> None:
        """Observe what a queue has in flight, acknowledged now (monotonic seconds, and µs since the epoch)."""
        self.produce.observe(now - queue.sent_at)
        if queue.topic is not Topic.CONTROL:
            seconds = (now_us - queue.in_flight[0][0]) / 1e6
            self.receive_to_ack.observe(seconds)
            self._recent[queue.topic].append((now, seconds))

    def recent(self, topic: Topic, now: float) -> list[float]:
        """Return the latest durations from receive to acknowledgement of a topic, shortest first, in seconds."""
        return sorted(seconds for at, seconds in self._recent[topic] if now - at <= RECENT_SECONDS)


def percentile(ordered: list[float], part: float) -> float | None:
    """Return the value below or at which this part of the values lies (nearest rank); None where there are none."""
    return ordered[ceil(part * len(ordered)) - 1] if ordered else None
