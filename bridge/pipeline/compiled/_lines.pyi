from collections import deque
from collections.abc import Mapping
from typing import Self

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.overload import Overload
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.pipeline.routing import SymbolStream
from bridge.topics import Topic

#: The hash of the sources that it was compiled from.
SOURCES: str
# How a value is read and encoded.
SYMBOL: int
PRICE: int
CHANGE: int
SIZE: int
SIZE_CHANGE: int
DOUBLE: int
STRING: int
TIME: int
ROWS: int
# What a slot of a record is filled with.
LITERAL: int
SYMBOL_SLOT: int
INGEST_TIME: int
SESSION: int
SEQ: int
AFTER_GAP: int
FEED_TIME: int
FIELD: int
CLEARED: int

class LineEncoder:
    def __new__(
        cls,
        shape: tuple[object, ...],
        kinds: tuple[tuple[bytes, int], ...],
        layouts: tuple[tuple[object, ...], ...],
        no_texts: tuple[bytes, ...],
        max_rows: int,
        max_record_bytes: int,
        record_overhead_bytes: int,
        routes: Mapping[tuple[Topic, ...], Mapping[str, tuple[SymbolStream, ...]]],
        buffer: RecordBuffer,
        accounts: Accounts,
        overload: Overload,
        last_data: dict[Topic, int],
    ) -> Self: ...
    def take(
        self, ingest_us: int, frames: deque[bytes], offset: int, max_lines: int, max_bytes: int, /
    ) -> tuple[int, int, int]: ...
    def set_prefix(self, topic: Topic, prefix: bytes, /) -> None: ...
