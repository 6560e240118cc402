"""Acknowledgements are observed once per batch, by its oldest record."""

from __future__ import annotations

from bridge.observability.latency import BUCKETS, MOST_RECENT, RECENT_SECONDS, Histogram, LatencyMetrics, percentile
from bridge.pipeline.partition_queue import PartitionQueue
from bridge.topics import Topic

SECOND_US = 1_000_000


def queue(topic: Topic, read_us: int, *, sent_at: float = 0.0) -> PartitionQueue:
    made = PartitionQueue(topic, f"t.{topic}", 0)
    made.in_flight = [(read_us, b"AAPL", b"oldest", None), (read_us + 900, b"AAPL", b"newer", None)]
    made.sent_at = sent_at
    return made


def test_a_duration_is_counted_in_the_first_bucket_that_holds_it() -> None:
    """A bound belongs to its own bucket, as Prometheus' ``le`` says; what is above all bounds is counted, too."""
    histogram = Histogram()
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, BUCKETS[-1] + 1, -5.0):
        histogram.observe(seconds)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (3, 1, 1)
    assert sum(histogram.counts) == 5
    assert histogram.sum_seconds == BUCKETS[0] * 2.01 + BUCKETS[-1] + 1


def test_a_batch_is_observed_by_its_oldest_record() -> None:
    """From its reading to the acknowledgement, and from the sending."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.QUOTES, 5 * SECOND_US, sent_at=100.25), 100.5, 7 * SECOND_US)
    assert latency.recent(Topic.QUOTES, 101) == [2.0]
    assert latency.receive_to_ack.sum_seconds == 2.0
    assert latency.produce.sum_seconds == 0.25


def test_our_own_records_were_never_received() -> None:
    """Control records tell how fast Kafka is, and nothing about lines."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.CONTROL, 0), 1.0, SECOND_US)
    assert sum(latency.produce.counts) == 1
    assert sum(latency.receive_to_ack.counts) == 0
    assert latency.recent(Topic.CONTROL, 1.0) == []


def test_what_is_recent_is_bounded_by_time_and_number() -> None:
    """Old durations are forgotten, and memory does not grow with the load."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.QUOTES, 0), 0.0, SECOND_US)
    assert latency.recent(Topic.QUOTES, RECENT_SECONDS) == [1.0]
    assert latency.recent(Topic.QUOTES, RECENT_SECONDS + 0.1) == []
    for _ in range(MOST_RECENT + 10):
        latency.acknowledged(queue(Topic.QUOTES, 0), 50.0, SECOND_US)
    assert len(latency.recent(Topic.QUOTES, 50.0)) == MOST_RECENT


def test_percentiles_are_values_that_were_seen() -> None:
    """By nearest rank; of nothing there is none."""
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, part) for part in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.5) == percentile([3.0], 0.99) == 3.0
    assert percentile([], 0.5) is None
