from __future__ import annotations

import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.kafka.partitioner import partition

# Apache Kafka, UtilsTest.testMurmur2 (signed 32 bits, as Java has them).
JAVA_HASHES = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def to_positive(signed: int) -> int:
    return signed & 0x7FFFFFFF


@pytest.mark.parametrize(("key", "java_hash"), JAVA_HASHES.items())
@pytest.mark.parametrize("partitions", [1, 2, 3, 6, 12, 100, 2**31 - 1])
def test_partition_is_the_java_clients(key: str, java_hash: int, partitions: int) -> None:
    """A key has the partition of the Java client's hash."""
    assert partition(key.encode(), partitions) == to_positive(java_hash) % partitions


@given(st.binary(max_size=64), st.integers(min_value=1, max_value=1000))
def test_agrees_with_librdkafka(key: bytes, partitions: int) -> None:
    """Any key has the partition of librdkafka's murmur2 partitioner."""
    assert partition(key, partitions) == confluent_kafka.murmur2(key, partitions)


def test_empty_key_has_a_partition() -> None:
    """An empty key has a fixed partition."""
    assert partition(b"", 12) == confluent_kafka.murmur2(b"", 12)
