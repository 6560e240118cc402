"""Produce requests as bytes, and what brokers answer to them, in versions 3 to 8.

Requests of these versions are the same (``ProduceRequest`` of the Apache Kafka protocol guide). Of the answers, those
from version 5 on have the start of the log, and those from 8 on name the records at fault (KIP-467).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.error_policy import DUPLICATE_SEQUENCE_NUMBER, NO_ERROR, BatchRejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRODUCE: Final = 0
OLDEST_VERSION: Final = 3
NEWEST_VERSION: Final = 8
#: From this version on a broker answers at once, and the client is to wait (KIP-219).
_CLIENT_WAITS_SINCE: Final = 6
_LOG_START_SINCE: Final = 5
_RECORD_ERRORS_SINCE: Final = 8
_ALL_IN_SYNC: Final = -1
_NO_TRANSACTION: Final = -1
#: Size, key, version, correlation id, length of the client's id; then behind the id.
_HEAD: Final = struct.Struct(">ihhih")
_BEHIND_CLIENT_ID: Final = struct.Struct(">hhii")
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
#: A partition of a request: its number, and how long its batch is.
_BATCH: Final = struct.Struct(">ii")
#: A partition of an answer, as it is without an error: number, code, offset, time; since version 5 the start of the
#: log; since version 8 how many records are named, and the length of the message.
_PLAIN_SINCE_3: Final = struct.Struct(">ihqq")
_PLAIN_SINCE_5: Final = struct.Struct(">ihqqq")
_PLAIN_SINCE_8: Final = struct.Struct(">ihqqqih")
_RECORDS_AND_MESSAGE_BYTES: Final = 6
_NONE_NAMED, _NO_MESSAGE = 0, -1


class ProduceAnswer(NamedTuple):
    """A broker's answer: the error of each batch by topic and partition, None of those that it has.

    ``throttle_seconds`` is how long the client must not send to this broker.
    """

    errors: Mapping[tuple[str, int], BatchRejected | None]
    throttle_seconds: float


def produce_version(versions: Mapping[int, tuple[int, int]]) -> int | None:
    """Return the newest version that a broker supports, too, by those of each request; None if there is none."""
    oldest, newest = versions.get(PRODUCE, (0, -1))
    version = min(newest, NEWEST_VERSION)
    return version if version >= max(oldest, OLDEST_VERSION) else None


def encode(
    version: int,
    correlation_id: int,
    client_id: bytes,
    timeout_ms: int,
    batches: Mapping[str, Sequence[tuple[int, bytes | bytearray]]],
) -> bytes:
    """Return a request with ``acks=all``, its size before it; ``batches`` are those of each topic, by partition."""
    pieces: list[bytes | bytearray] = [
        client_id,
        _BEHIND_CLIENT_ID.pack(_NO_TRANSACTION, _ALL_IN_SYNC, timeout_ms, len(batches)),
    ]
    for topic, partitions in batches.items():
        name = topic.encode()
        pieces += (_SHORT.pack(len(name)), name, _INT.pack(len(partitions)))
        for partition, batch in partitions:
            pieces += (_BATCH.pack(partition, len(batch)), batch)
    size = _HEAD.size - _INT.size + sum(map(len, pieces))
    return b"".join((_HEAD.pack(size, PRODUCE, version, correlation_id, len(client_id)), *pieces))


def decode(version: int, answer: bytes, at: int) -> ProduceAnswer:
    """Return what an answer says from a place on, which is behind the header.

    Raises ``struct.error`` or ``ValueError`` if it is not one.
    """
    errors: dict[tuple[str, int], BatchRejected | None] = {}
    names_records = version >= _RECORD_ERRORS_SINCE
    plain = _PLAIN_SINCE_8 if names_records else _PLAIN_SINCE_5 if version >= _LOG_START_SINCE else _PLAIN_SINCE_3
    (topics,) = _INT.unpack_from(answer, at)
    at += _INT.size
    for _ in range(topics):
        topic, at = _text(answer, at)
        (partitions,) = _INT.unpack_from(answer, at)
        at += _INT.size
        for _ in range(partitions):
            number, code, *more = plain.unpack_from(answer, at)
            at += plain.size
            indices: tuple[int, ...] = ()
            message = None
            if names_records and more[-2:] != [_NONE_NAMED, _NO_MESSAGE]:
                indices, at = _record_indices(answer, at - _RECORDS_AND_MESSAGE_BYTES)
                message, at = _text(answer, at)
            is_stored = code in (NO_ERROR, DUPLICATE_SEQUENCE_NUMBER)
            errors[topic or "", number] = None if is_stored else BatchRejected(code, message or "", indices)
    (throttle_ms,) = _INT.unpack_from(answer, at)
    return ProduceAnswer(errors, max(0, throttle_ms) / 1000 if version >= _CLIENT_WAITS_SINCE else 0.0)


def _record_indices(answer: bytes, at: int) -> tuple[tuple[int, ...], int]:
    count, at = _int(answer, at)
    indices = []
    for _ in range(count):
        index, at = _int(answer, at)
        _, at = _text(answer, at)
        indices.append(index)
    return tuple(indices), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    return _INT.unpack_from(data, at)[0], at + _INT.size


def _text(data: bytes, at: int) -> tuple[str | None, int]:
    """Return a text, None if it is null, and the place behind it."""
    (length,) = _SHORT.unpack_from(data, at)
    at += _SHORT.size
    if length < 0:
        return None, at
    text = data[at : at + length]
    if len(text) < length:
        raise ValueError("the answer ends within a text")
    return text.decode(), at + length
