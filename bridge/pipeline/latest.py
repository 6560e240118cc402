"""The latest state of each symbol, merged from all its updates, for the compacted topics (``BRIDGE_LATEST``).

These records are copies, not lines: they stand outside the accounts. They use only room that nothing else needs. Where
there is none, or Kafka has not taken the ones before, a state waits and the next interval publishes a newer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.errors import BadLine
from bridge.market_data import FIELDS, EventType, Update, UpdateKind
from bridge.pipeline.partition_queue import MAX_RECORD_BYTES, TOMBSTONE
from bridge.serialization.field_mappings import CHANGES, RECORD_MAPPINGS
from bridge.serialization.records import IngestMetadata, build_record
from bridge.topics import LATEST_OF, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.pipeline.routing import SymbolStream
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.serializer import Serializer

    #: The fields of the feed that make a state complete, by symbol and topic.
    Subscribed = Mapping[str, Mapping[Topic, frozenset[str]]]

#: States that are serialized before the event loop gets to run something else.
MAX_RELEASED: Final = 500
#: Tombstones that wait for room; far above the symbols of any subscription.
MAX_TOMBSTONES: Final = 100_000
_KINDS: Final = {Topic.QUOTES: UpdateKind.QUOTE, Topic.TRADES: UpdateKind.TRADE}
_FIELDS: Final = {topic: frozenset(RECORD_MAPPINGS[topic]) - CHANGES for topic in LATEST_OF}
#: Of a symbol without a list of fields.
_ALL: Final = {
    Topic.QUOTES: frozenset(FIELDS[EventType.QUOTES]) - CHANGES,
    Topic.TRADES: frozenset(FIELDS[EventType.TRADES]),
}


class _State:
    """What is known of a symbol on a topic since its session began, under the feed's names."""

    __slots__ = (
        "feed_time",
        "fields",
        "ingest_us",
        "is_waiting",
        "key",
        "missing",
        "queue",
        "seq",
        "session_id",
        "symbol",
        "topic",
    )

    def __init__(self, topic: Topic, symbol: str, key: bytes, queue: PartitionQueue, missing: frozenset[str]) -> None:
        self.topic = topic
        self.symbol = symbol
        self.key = key
        self.queue = queue
        self.fields: dict[str, object] = {}
        #: The subscribed fields that no update had yet.
        self.missing = missing
        self.feed_time: object = None
        self.ingest_us = self.seq = self.session_id = 0
        #: Whether it has changed since it was published.
        self.is_waiting = False


class LatestStates:
    """The states of all symbols, those that have changed, and the tombstones of those that are unsubscribed."""

    def __init__(
        self,
        serializer: Serializer,
        buffer: RecordBuffer,
        accounts: Accounts,
        decimals: DecimalEncoder,
        subscribed: Subscribed,
    ) -> None:
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        self._decimals = decimals
        self._subscribed = subscribed
        self._states: dict[Topic, dict[str, _State]] = {topic: {} for topic in LATEST_OF}
        self._waiting: dict[PartitionQueue, list[_State]] = {}
        #: By topic and symbol, with the time of the change.
        self._tombstones: dict[tuple[Topic, str], int] = {}

    def start_session(self, includes: Callable[[str], bool] | None = None) -> None:
        """Forget the states of these symbols, or of all: nothing of an earlier session is merged into a new one."""
        for states in self._states.values():
            for symbol in [symbol for symbol in states if includes is None or includes(symbol)]:
                states.pop(symbol).is_waiting = False
        if includes is None:
            self._waiting.clear()

    def set_subscribed(self, subscribed: Subscribed, now_us: int, *, others_publish: bool = False) -> None:
        """Change the fields of which a state is complete; what is no longer subscribed gets a tombstone.

        ``others_publish``: what is no longer subscribed here is so by another process, and gets none.
        """
        before, self._subscribed = self._subscribed, subscribed
        for symbol, topics in before.items():
            for topic in topics:
                if topic in subscribed.get(symbol, ()):
                    continue
                if others_publish:
                    self.forget(symbol, [topic])
                elif len(self._tombstones) < MAX_TOMBSTONES:
                    self._tombstones[topic, symbol] = now_us
                    self.forget(symbol, [topic])
        for symbol, wanted in subscribed.items():
            for topic, fields in wanted.items():
                self._tombstones.pop((topic, symbol), None)
                if (state := self._states[topic].get(symbol)) is not None:
                    state.missing = (fields - CHANGES).difference(state.fields)

    def note(self, streams: Iterable[SymbolStream], update: Update, ingest_us: int) -> None:
        """Merge an update of which the next record of each stream is made."""
        for stream in streams:
            states = self._states.get(stream.topic)
            if states is None:
                continue
            state = states.get(stream.symbol)
            if state is None:
                state = states[stream.symbol] = self._new_state(stream)
            names = _FIELDS[stream.topic]
            state.fields.update({name: value for name, value in update.fields.items() if name in names})
            if state.missing:
                state.missing = state.missing.difference(update.fields)
            state.feed_time, state.ingest_us, state.seq = update.feed_time, ingest_us, stream.seq
            state.session_id = stream.session_id
            if not state.is_waiting:
                state.is_waiting = True
                self._waiting.setdefault(state.queue, []).append(state)

    def forget(self, symbol: str, topics: Iterable[Topic]) -> None:
        """Forget states of which an update was lost, or that are no longer needed."""
        for topic in topics:
            if (state := self._states.get(topic, {}).pop(symbol, None)) is not None:
                state.is_waiting = False

    def release(self) -> Iterator[None]:
        """Queue tombstones and changed states, each symbol once, as far as there is room; yield between portions."""
        empty = [queue for queue in self._waiting if not queue.waiting]
        self._release_tombstones()
        for queue in empty:
            states = self._waiting.pop(queue, [])
            for start in range(0, len(states), MAX_RELEASED):
                if not self._buffer.has_drained:
                    self._waiting[queue] = states[start:] + self._waiting.get(queue, [])
                    break
                for state in states[start : start + MAX_RELEASED]:
                    if state.is_waiting:
                        self._release_state(state)
                yield

    def _new_state(self, stream: SymbolStream) -> _State:
        topic = stream.topic
        queue = self._buffer.queue_for(LATEST_OF[topic], stream.key)
        wanted = self._subscribed.get(stream.symbol, {}).get(topic)
        missing = _ALL[topic] if wanted is None else wanted - CHANGES
        return _State(topic, stream.symbol, stream.key, queue, missing)

    def _release_state(self, state: _State) -> None:
        state.is_waiting = False
        topic, rounded = state.topic, self._decimals.rounded
        update = Update(_KINDS[topic], state.symbol, state.fields, state.feed_time)
        metadata = IngestMetadata(state.ingest_us, state.session_id, state.seq, after_gap=bool(state.missing))
        try:
            value = self._serializer.encode(topic, build_record(topic, update, metadata, self._decimals))
            is_rejected = len(value) > MAX_RECORD_BYTES
        except BadLine:
            is_rejected = True
        self._decimals.rounded = rounded  # they were counted when the updates were serialized
        if is_rejected:
            self._accounts.latest_rejected += 1
        else:
            self._buffer.add(state.queue, (state.ingest_us, state.key, value, None))

    def _release_tombstones(self) -> None:
        if self._buffer.has_drained:
            for (topic, symbol), since_us in list(self._tombstones.items())[:MAX_RELEASED]:
                key = symbol.encode()
                self._buffer.add(self._buffer.queue_for(LATEST_OF[topic], key), (since_us, key, TOMBSTONE, None))
                del self._tombstones[topic, symbol]
