"""Batches: what an independent reader of Kafka's format finds in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as some

from bridge.kafka.record_batch import CODECS, batch_maker

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import Record

_ROOM = 1 << 20
_RECORDS = some.lists(
    some.tuples(
        some.integers(0, 1 << 60), some.none() | some.binary(max_size=20), some.binary(max_size=2000), some.none()
    ),
    min_size=1,
    max_size=40,
)


def _read(data: bytearray) -> tuple[DefaultRecordBatch, list[tuple[int, int, bytes | None, bytes | None]]]:
    batch = DefaultRecordBatch(data)
    assert batch.validate_crc()
    return batch, [(record.offset, record.timestamp, record.key, record.value) for record in batch]


@pytest.mark.parametrize("compression", CODECS)
@given(records=_RECORDS)
def test_a_batch_holds_what_it_was_filled_with(compression: str, records: list[Record]) -> None:
    """Whatever the codec, a reader finds offsets, times, keys and values, an intact checksum and the producer."""
    made = batch_maker(compression, _ROOM)()
    assert made.fill(records) == len(records) == made.records
    batch, found = _read(made.encode(7, 3, 41))
    assert found == [(place, us // 1000, key, value) for place, (us, key, value, _) in enumerate(records)]
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 3, 41)


def test_zstd_makes_smaller_and_says_so() -> None:
    """A batch that compresses is sent compressed, under the number of its codec; another is sent as it is."""
    records: list[Record] = [(0, b"KEY", b"the same again and again " * 10, None)] * 50
    packed, plain = batch_maker("zstd", _ROOM)(), batch_maker("none", _ROOM)()
    packed.fill(records)
    plain.fill(records)
    encoded = packed.encode(7, 3, 41)
    assert len(encoded) * 10 < len(plain.encode(7, 3, 41))
    assert _read(encoded)[0].compression_type == CODECS["zstd"]
    tiny = batch_maker("zstd", _ROOM)()
    tiny.fill([(0, b"K", b"", None)])
    assert _read(tiny.encode(7, 3, 41))[0].compression_type == CODECS["none"]


def test_a_batch_takes_what_fits_and_always_one() -> None:
    """Records are taken in order up to the size of a batch; one that is larger by itself makes a batch of its own."""
    records: list[Record] = [(0, b"KEY", bytes(400), None)] * 5
    batch = batch_maker("zstd", 1000)()
    assert batch.fill(records) == 2
    assert batch_maker("zstd", 1000)().fill([(0, b"KEY", bytes(4000), None)]) == 1
