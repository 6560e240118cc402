"""Conflation: the newest state of a symbol waits beside its queue, merged from the records that came meanwhile.

Quotes and greeks conflate for two reasons: at most one record a symbol in each interval (``BRIDGE_CONFLATE_MS``),
and overload, when the symbol's queue has no room.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.pipeline.partition_queue import RECORD_OVERHEAD_BYTES
from bridge.serialization.field_mappings import CHANGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.overload import Overload
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.pipeline.routing import SymbolStream
    from bridge.serialization.serializer import Serializer

    Fields = dict[str, object]

#: Records that are released before the event loop gets to run something else: each is serialized by the reference.
MAX_RELEASED: Final = 500


class _ConflatedRecord:
    """The merged newest state of a symbol, until it may go to its queue."""

    __slots__ = ("cost_bytes", "fields", "stream")

    def __init__(self, stream: SymbolStream, fields: Fields, cost_bytes: int) -> None:
        self.stream = stream
        self.fields = fields
        self.cost_bytes = cost_bytes

    def merge(self, stream: SymbolStream, newer: Fields) -> None:
        """Take the fields that the newer record has, and forget those that it clears; after a gap nothing older counts.

        A change is that from the message before, which is not published: it says nothing about the merged record.
        """
        if not newer["after_gap"]:
            cleared: list[str] = newer["cleared"]  # type: ignore[assignment]  # names, see build_record
            present = {name: value for name, value in newer.items() if value is not None}
            merged = self.fields | present | dict.fromkeys(cleared) | {"after_gap": self.fields["after_gap"]}
            earlier: list[str] = self.fields["cleared"]  # type: ignore[assignment]
            merged["cleared"] = [name for name in dict.fromkeys([*earlier, *cleared]) if merged.get(name) is None]
            newer = merged | dict.fromkeys(CHANGE_FIELDS & merged.keys())
        self.fields, self.stream = newer, stream


class Conflation:
    """The conflated records, and when each may go to its queue."""

    def __init__(
        self, serializer: Serializer, buffer: RecordBuffer, accounts: Accounts, overload: Overload, interval_ms: int
    ) -> None:
        #: Length of the conflation interval; 0: none. Read on the hot path.
        self.interval_us = interval_ms * 1000
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        self._overload = overload
        #: By queue and symbol; a queue without any is not there.
        self._waiting: dict[PartitionQueue, dict[str, _ConflatedRecord]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def is_due(self, stream: SymbolStream, now_us: int) -> bool:
        """Return whether a new record must be conflated: one waits already, or the interval has had its record."""
        if stream.symbol in self._waiting.get(stream.queue, ()):
            return True
        if not self.interval_us:
            return False
        last, stream.interval = stream.interval, self._interval(now_us)
        return last == stream.interval

    def hold(self, stream: SymbolStream, fields: Fields, value_bytes: int) -> None:
        """Merge a record of ``value_bytes`` into the one that waits for its symbol, or let it wait."""
        queue = stream.queue
        cost_bytes = value_bytes + RECORD_OVERHEAD_BYTES
        waiting = self._waiting.setdefault(queue, {})
        conflated = waiting.get(stream.symbol)
        if conflated is None:
            waiting[stream.symbol] = _ConflatedRecord(stream, fields, cost_bytes)
            queue.has_conflated = True
            self._buffer.charge(queue, cost_bytes)
            self._accounts.pending += 1
            return
        conflated.merge(stream, fields)
        self._accounts.conflated[stream.topic] += 1
        if cost_bytes > conflated.cost_bytes:
            self._buffer.charge(queue, cost_bytes - conflated.cost_bytes)
            conflated.cost_bytes = cost_bytes

    def release(self, now_us: int, max_records: int = MAX_RELEASED, *, due_only: bool = False) -> bool:
        """Move conflated records to their queues, as far as there is room; return whether to go on at once.

        The record that is moved is its symbol's for the current interval. With ``due_only``, records stay whose
        symbol has had one in this interval: a timer may fire before the interval ends.
        """
        for queue in [queue for queue in self._waiting if not queue.is_overloaded]:
            max_records -= self.release_queue(queue, now_us, max_records, due_only=due_only)
            if max_records <= 0:
                return True
        return False

    def release_queue(
        self, queue: PartitionQueue, now_us: int, max_records: int = MAX_RELEASED, *, due_only: bool = False
    ) -> int:
        """Move conflated records of one queue to it, as far as there is room; return how many."""
        waiting = self._waiting.get(queue, {})
        released = 0
        current = self._interval(now_us) if due_only and self.interval_us else None
        due = (one for one in waiting.items() if one[1].stream.interval != current)
        for symbol, conflated in list(islice(due, max_records)):
            if not self._release_record(queue, conflated, now_us):
                self._overload.begin(queue)
                break
            del waiting[symbol]
            released += 1
        if not waiting:
            self._waiting.pop(queue, None)
            queue.has_conflated = False
        return released

    def _release_record(self, queue: PartitionQueue, conflated: _ConflatedRecord, now_us: int) -> bool:
        stream, fields = conflated.stream, conflated.fields
        value = self._serializer.encode(stream.topic, fields)
        ingest_us: int = fields["ingest_time_us"]  # type: ignore[assignment]  # an int, see IngestMetadata
        self._buffer.charge(queue, -conflated.cost_bytes)
        if not self._buffer.offer(queue, (ingest_us, stream.key, value, None)):
            self._buffer.charge(queue, conflated.cost_bytes)
            return False
        self._accounts.pending -= 1  # the queue counts it from here on
        stream.interval = self._interval(now_us)
        return True

    def mark_gap(self, queue: PartitionQueue, symbol: str) -> bool:
        """Let the record that waits for a symbol say that one before it is missing; return False if none waits."""
        conflated = self._waiting.get(queue, {}).get(symbol)
        if conflated is not None:
            conflated.fields["after_gap"] = True
        return conflated is not None

    def drop(self, includes: Callable[[str], bool], reason: str | None) -> int:
        """Drop what waits of these symbols, as ``RecordBuffer.drop`` does; return how many records that is."""
        dropped = 0
        for queue, waiting in list(self._waiting.items()):
            for symbol in [symbol for symbol in waiting if includes(symbol)]:
                self._buffer.charge(queue, -waiting.pop(symbol).cost_bytes)
                self._accounts.note_lost(queue.line_topic, reason, 1)
                self._accounts.pending -= 1
                dropped += 1
            if not waiting:
                del self._waiting[queue]
                queue.has_conflated = False
        return dropped

    def give_up(self) -> None:
        """Count what still waits as undelivered."""
        for queue, waiting in self._waiting.items():
            self._accounts.undelivered[queue.line_topic] += len(waiting)
            self._accounts.pending -= len(waiting)
            self._buffer.charge(queue, -sum(conflated.cost_bytes for conflated in waiting.values()))
            queue.has_conflated = False
        self._waiting.clear()

    def _interval(self, now_us: int) -> int:
        """Return the number of the conflation interval; -1 if there are no intervals."""
        return now_us // self.interval_us if self.interval_us else -1
