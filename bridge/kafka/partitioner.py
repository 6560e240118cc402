"""The partition of a key, equal to that of Kafka's Java client."""

from __future__ import annotations

from aiokafka.partitioner import murmur2

_POSITIVE = 0x7FFF_FFFF


def partition(key: bytes, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``, numbered from 0.

    This is the Java client's ``toPositive(murmur2(key)) % n`` (BuiltInPartitioner.partitionForKey), so that Kafka
    Streams can join the topics. The hash is pure Python: callers should cache the result for frequent keys.
    """
    return int(murmur2(key) & _POSITIVE) % partitions
