"""Which partition a key belongs to: the same one as for every Java client."""

from __future__ import annotations

from aiokafka.partitioner import murmur2

_POSITIVE = 0x7FFF_FFFF


def partition(key: bytes, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``, numbered from 0.

    It is the Java client's ``toPositive(murmur2(key)) % n`` (BuiltInPartitioner.partitionForKey), so that
    Kafka Streams finds our topics co-partitioned. It hashes in pure Python: remember the answer for keys
    that come often.
    """
    return int(murmur2(key) & _POSITIVE) % partitions
