"""Latency is observed once per batch, by its oldest record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.registry import Collector

from bridge.observability.latency import (
    BUCKETS,
    MAX_RECENT_BATCHES,
    NAMESPACE,
    RECENT_SECONDS,
    LatencyHistogram,
    LatencyMetrics,
    percentile,
)
from bridge.pipeline.partition_queue import PartitionQueue
from bridge.topics import Topic

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily

SECOND_US = 1_000_000


def queue(topic: Topic, read_us: int, *, sent_at: float = 0.0) -> PartitionQueue:
    made = PartitionQueue(topic, f"t.{topic}", 0)
    made.in_flight = [(read_us, b"AAPL", b"oldest", None), (read_us + 900, b"AAPL", b"newer", None)]
    made.sent_at = sent_at
    return made


def count(histogram: LatencyHistogram, le: float = math.inf) -> float:
    """Return how many observations are not above a bound."""
    samples = {sample.labels.get("le"): sample.value for sample in histogram.collect().samples}
    return samples["+Inf" if math.isinf(le) else str(le)]


def total(histogram: LatencyHistogram) -> float:
    """Return the sum of all observations."""
    samples = {sample.name: sample.value for sample in histogram.collect().samples}
    return next(value for name, value in samples.items() if name.endswith("_sum"))


def test_a_wall_clock_that_was_set_back_makes_no_negative_latency() -> None:
    """The sum of a histogram only grows."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.QUOTES, 5 * SECOND_US), 1.0, SECOND_US)
    assert (count(latency.receive_to_ack, le=BUCKETS[0]), total(latency.receive_to_ack)) == (1, 0.0)
    assert latency.recent(Topic.QUOTES, 1.0) == [0.0]


def test_a_batch_is_observed_by_its_oldest_record() -> None:
    """From the time it was read, and from the time the batch was sent, to the acknowledgement."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.QUOTES, 5 * SECOND_US, sent_at=100.25), 100.5, 7 * SECOND_US)
    assert latency.recent(Topic.QUOTES, 101) == [2.0]
    assert total(latency.receive_to_ack) == 2.0
    assert total(latency.produce_ack) == 0.25


def test_control_records_have_no_receive_time() -> None:
    """They count in the latency of Kafka, and not in that of lines."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.CONTROL, 0), 1.0, SECOND_US)
    assert count(latency.produce_ack) == 1
    assert count(latency.receive_to_ack) == 0
    assert latency.recent(Topic.CONTROL, 1.0) == []


def test_recent_latencies_are_limited_by_age_and_number() -> None:
    """Old values are not returned, and memory does not grow with the load."""
    latency = LatencyMetrics()
    latency.acknowledged(queue(Topic.QUOTES, 0), 0.0, SECOND_US)
    assert latency.recent(Topic.QUOTES, RECENT_SECONDS) == [1.0]
    assert latency.recent(Topic.QUOTES, RECENT_SECONDS + 0.1) == []
    for _ in range(MAX_RECENT_BATCHES + 10):
        latency.acknowledged(queue(Topic.QUOTES, 0), 50.0, SECOND_US)
    assert len(latency.recent(Topic.QUOTES, 50.0)) == MAX_RECENT_BATCHES


def test_percentiles_are_observed_values() -> None:
    """By the nearest-rank method; there is none of no values."""
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, part) for part in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.5) == percentile([3.0], 0.99) == 3.0
    assert percentile([], 0.5) is None


def test_a_histogram_reads_as_one_of_the_client_library() -> None:
    """Values on a bound count below it, and the text of a scrape is the same."""

    class Ours(Collector):
        def collect(self) -> list[HistogramMetricFamily]:
            return [ours.collect()]

    ours, theirs = LatencyHistogram("x_seconds", "X."), CollectorRegistry()
    reference = Histogram("x_seconds", "X.", namespace=NAMESPACE, buckets=BUCKETS, registry=theirs)
    for value in (0.0, BUCKETS[0], 0.0003, BUCKETS[-1], 1000.0, 0.25):
        ours.observe(value)
        reference.observe(value)
    registry = CollectorRegistry()
    registry.register(Ours())
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(registry).decode().splitlines() == expected
