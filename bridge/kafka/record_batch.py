"""One batch of records in Kafka's format, made with a compressor that is kept.

aiokafka makes a new zstd compressor for each batch: for a few records that costs about as much as all the rest.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from zstandard import ZstdCompressor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.pipeline.partition_queue import Record

#: The codecs' numbers (Kafka protocol, RecordBatch, attributes).
CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
#: Smaller batches, of a record or two, are not compressed with zstd: between other work that takes longer than to fill
#: and write them, to save a quarter of their bytes.
MIN_ZSTD_BYTES: Final = 256
_MAGIC: Final = 2
_NO_HEADERS: Final[list[tuple[str, bytes | None]]] = []
#: Where things stand in a batch (same place), and where what its length counts begins.
_LENGTH, _BEHIND_LENGTH, _CRC, _ATTRIBUTES, _RECORDS = 8, 12, 17, 21, 61


class RecordBatch:
    """The records of a batch, up to its size."""

    def __init__(self, batch_bytes: int, codec: int, zstd: ZstdCompressor | None) -> None:
        codec = codec if zstd is None else CODECS["none"]
        self._builder = DefaultRecordBatchBuilder(_MAGIC, codec, 0, -1, -1, 0, batch_bytes)
        self._zstd = zstd
        #: How many records it has.
        self.records = 0

    def fill(self, records: Iterable[Record]) -> int:
        """Take as many records as fit, at least one; return how many."""
        append, no_headers = self._builder.append, _NO_HEADERS
        count = 0
        for ingest_us, key, value, _ in records:
            if append(count, ingest_us // 1000, key, value, no_headers) is None:
                break
            count += 1
        self.records = count
        return count

    def append(self, time_us: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes | None]]) -> bool:
        """Take one record with headers if it fits, or is the first; return whether it was taken."""
        taken = self._builder.append(self.records, time_us // 1000, key, value, headers) is not None
        self.records += taken
        return taken

    @property
    def size_bytes(self) -> int:
        """Return its size before compression."""
        size: int = self._builder.size()
        return size

    def encode(self, producer_id: int, producer_epoch: int, sequence: int) -> bytearray:
        """Return it as it goes over the wire, compressed; call it once."""
        self._builder.set_producer_state(producer_id, producer_epoch, sequence)
        encoded: bytearray = self._builder.build()
        if self._zstd is not None and len(encoded) >= MIN_ZSTD_BYTES:
            _compress(encoded, self._zstd)
        return encoded


def batch_maker(compression: str, batch_bytes: int) -> Callable[[], RecordBatch]:
    """Return what makes an empty batch, of at most so many bytes before compression."""
    codec = CODECS[compression]
    zstd = ZstdCompressor() if compression == "zstd" else None
    return partial(RecordBatch, batch_bytes, codec, zstd)


def _compress(batch: bytearray, zstd: ZstdCompressor) -> None:
    """Compress the records of a finished batch, where that makes them smaller."""
    packed = zstd.compress(memoryview(batch)[_RECORDS:])
    if len(packed) >= len(batch) - _RECORDS:
        return
    batch[_RECORDS:] = packed
    struct.pack_into(">i", batch, _LENGTH, len(batch) - _BEHIND_LENGTH)
    struct.pack_into(">h", batch, _ATTRIBUTES, CODECS["zstd"])
    struct.pack_into(">I", batch, _CRC, calc_crc32c(memoryview(batch)[_ATTRIBUTES:]))
