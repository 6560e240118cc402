"""Conflation: the newest state of a symbol waits outside the queues, merged from the records that came meanwhile.

Quotes and greeks conflate for two reasons: at most one record a symbol in each interval (``BRIDGE_CONFLATE_MS``),
and overload, when the buffer has no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.pipeline.routing import SymbolStream
    from bridge.serialization.serializer import Serializer
    from bridge.topics import Topic

    Fields = dict[str, object]


class _ConflatedRecord:
    """The merged newest state of a symbol, until it may go to its queue."""

    __slots__ = ("fields", "stream")

    def __init__(self, stream: SymbolStream, fields: Fields) -> None:
        self.stream = stream
        self.fields = fields

    def merge(self, stream: SymbolStream, newer: Fields) -> None:
        """Take the fields that the newer record has; after a gap nothing older counts."""
        if not newer["after_gap"]:
            present = {name: value for name, value in newer.items() if value is not None}
            newer = self.fields | present | {"after_gap": self.fields["after_gap"]}
        self.fields, self.stream = newer, stream


class Conflation:
    """The conflated records that wait, one for each symbol and topic."""

    def __init__(self, serializer: Serializer, buffer: RecordBuffer, accounts: Accounts, interval_ms: int) -> None:
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        #: Length of the conflation interval, and the records that wait: read on the hot path.
        self.interval_us = interval_ms * 1000
        self.waiting: dict[tuple[Topic, str], _ConflatedRecord] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def is_due(self, stream: SymbolStream, now_us: int) -> bool:
        """Return whether a new record must be conflated: one waits already, or the interval has had its record."""
        if (stream.topic, stream.symbol) in self.waiting:
            return True
        if not self.interval_us:
            return False
        last, stream.interval = stream.interval, self._interval(now_us)
        return last == stream.interval

    def hold(self, stream: SymbolStream, fields: Fields) -> None:
        """Merge a record into the one that waits for its symbol, or let it wait."""
        waiting = self.waiting.get((stream.topic, stream.symbol))
        if waiting is None:
            self.waiting[stream.topic, stream.symbol] = _ConflatedRecord(stream, fields)
            self._accounts.pending += 1
        else:
            waiting.merge(stream, fields)
            self._accounts.conflated[stream.topic] += 1

    def release(self, now_us: int) -> None:
        """Move what waits to its queues, as far as there is room; it is the record of the current interval."""
        for place, waiting in list(self.waiting.items()):
            stream, fields = waiting.stream, waiting.fields
            value = self._serializer.encode(stream.topic, fields)
            ingest_us: int = fields["ingest_time_us"]  # type: ignore[assignment]  # an int, see IngestMetadata
            if not self._buffer.offer(stream.queue, (ingest_us, stream.key, value, None)):
                return
            self._accounts.pending -= 1  # the queue counts it from here on
            stream.interval = self._interval(now_us)
            del self.waiting[place]

    def mark_gap(self, topic: Topic, symbol: str) -> bool:
        """Let the record that waits for a symbol say that one before it is missing; return False if none waits."""
        waiting = self.waiting.get((topic, symbol))
        if waiting is not None:
            waiting.fields["after_gap"] = True
        return waiting is not None

    def give_up(self) -> None:
        """Count what still waits as undelivered."""
        for topic, _ in self.waiting:
            self._accounts.undelivered[topic] += 1
        self._accounts.pending -= len(self.waiting)
        self.waiting.clear()

    def _interval(self, now_us: int) -> int:
        """Return the number of the conflation interval; -1 if there are no intervals."""
        return now_us // self.interval_us if self.interval_us else -1
