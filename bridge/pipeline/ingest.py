"""From lines to records in their queues: synchronous, and every line is accounted for before the next is looked at.

Where the budget is used up the socket is still read: quotes and greeks are merged to the newest state per symbol
and wait outside the queues; everything else is dropped, visibly (``seq`` jumps, ``after_gap`` on the next record,
OVERLOAD on control, the account). The same merging serves ``BRIDGE_CONFLATE_MS``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bridge.clock import wall_us
from bridge.errors import BadLine
from bridge.market_data import Update, UpdateKind
from bridge.serialization.fast import FieldLayoutCache, encode_long, encode_string
from bridge.serialization.records import IngestMetadata, build_record, record_topics
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.market_data import Line
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.dead_letters import DeadLetters
    from bridge.pipeline.record_buffer import PartitionQueue, Record, RecordBuffer
    from bridge.serialization.decimals import PriceEncoder
    from bridge.serialization.fast import FastSerializer
    from bridge.serialization.serializer import Serializer

#: Newer replaces older without loss of meaning: these conflate; the others are events of their own.
CONFLATED = frozenset({Topic.QUOTES, Topic.GREEKS})
#: Kafka's default ``max.message.bytes`` is 1 MiB + 12; the rest is for the key and the batch's own header.
MAX_RECORD_BYTES = 1_000_000
#: Symbols a feed may make us remember per topic; far above any subscription, far below our memory.
MAX_SYMBOLS = 100_000
#: Names of unknown fields we count one by one, and how much of each we keep; the rest share a name.
MAX_UNKNOWN_FIELDS, MAX_FIELD_NAME_CHARACTERS = 100, 100
#: Overload ends when the buffer has drained to this part of its budget.
RELIEF = 0.8


class SymbolStream:
    """Keep what the records of one symbol on one topic have in common during a session."""

    __slots__ = ("after_gap", "conflates", "key", "queue", "seq", "symbol", "symbol_bytes", "topic", "window")

    def __init__(self, topic: Topic, symbol: str, queue: PartitionQueue) -> None:
        self.topic = topic
        self.symbol = symbol
        self.conflates = topic in CONFLATED
        self.key = symbol.encode()
        self.symbol_bytes = encode_string(symbol)
        self.queue = queue
        self.seq = 0
        self.after_gap = True
        self.window = -1


class Held:
    """Hold the merged newest state of a symbol until it may go to its queue."""

    __slots__ = ("record", "stream")

    def __init__(self, stream: SymbolStream, record: dict[str, object]) -> None:
        self.stream = stream
        self.record = record

    def merge(self, stream: SymbolStream, newer: dict[str, object]) -> None:
        """Take over what the newer record says; behind a gap nothing older counts."""
        if not newer["after_gap"]:
            said = {name: value for name, value in newer.items() if value is not None}
            newer = self.record | said | {"after_gap": self.record["after_gap"]}
        self.record, self.stream = newer, stream


class Intake:
    """Turn lines into records, decide where each goes, and account for it."""

    def __init__(
        self,
        *,
        serializer: Serializer,
        fast_serializer: FastSerializer,
        prices: PriceEncoder,
        buffer: RecordBuffer,
        accounts: Accounts,
        dead_letters: DeadLetters,
        wanted: Mapping[str, frozenset[Topic]],
        market_status: bool = True,
        conflate_ms: int = 0,
    ) -> None:
        self.overloaded = False
        #: Called with True when overload has started and False when it has ended, always between two lines.
        self.on_overload: Callable[[bool], None] = lambda _: None
        self.unknown_fields: dict[str, int] = {}
        self.last_data_us: dict[Topic, int] = {}
        self.session_id = 0
        self._told_overloaded = False
        self._serializer = serializer
        self._fast_serializer = fast_serializer
        self._shapes = {kind: FieldLayoutCache(kind, fast_serializer) for kind in UpdateKind}
        self._session_bytes = b""
        self._prices = prices
        self._buffer = buffer
        self._accounts = accounts
        self._dead_letters = dead_letters
        self._always = frozenset({Topic.MARKET_STATUS}) if market_status else frozenset()
        self._window_us = conflate_ms * 1000
        self._streams: dict[Topic, dict[str, SymbolStream]] = {topic: {} for topic in MARKET_DATA}
        #: Where the records go of updates that say something to these topics, by symbol.
        self._routes: defaultdict[tuple[Topic, ...], dict[str, tuple[SymbolStream, ...]]] = defaultdict(dict)
        self._held: dict[tuple[Topic, str], Held] = {}
        self._events: dict[str, frozenset[Topic]] = {}
        self.want(wanted)
        buffer.on_room = self._relieve

    def start_session(self, session_id: int) -> None:
        """Count ``seq`` from 0 again; the first record of each symbol is after a gap."""
        self.session_id = session_id
        self._session_bytes = encode_long(session_id)
        self._streams = {topic: {} for topic in MARKET_DATA}
        self._routes.clear()

    def want(self, wanted: Mapping[str, frozenset[Topic]]) -> None:
        """Take the topics of each subscribed symbol, and market status where this is the bridge that publishes it.

        A symbol that the feed writes otherwise than we asked for it gets whatever anybody asked for.
        """
        self._topics = frozenset().union(*wanted.values(), self._always)
        before = self._events
        self._events = dict(wanted)
        self._routes.clear()
        for symbol, events in self._events.items():
            for topic in events.difference(before.get(symbol, ())):
                streams = self._streams[topic]
                if symbol in streams:  # wanted again: it has missed something
                    streams[symbol].after_gap = True

    def refuse(self, record: Record, queue: PartitionQueue, error: BadLine) -> None:
        """Dead-letter a record that Kafka does not take; a dead letter itself ends in the account of drops."""
        ingest_us, key, value, _ = record
        if queue.topic in MARKET_DATA:
            assert key is not None  # a symbol, as for every market record
            error.symbol = key.decode()
            self._reject(value, error, ingest_us)
            self._note_overload()
            self._mark_gap(queue, error.symbol)
        elif queue.topic is Topic.DLQ:
            self._accounts.dropped[Topic.DLQ, error.reason] += 1

    def take(self, lines: Iterable[Line], ingest_us: int) -> None:
        """Account for lines read at one time (µs since the epoch), each before the next, and pass on what they hold."""
        ingest_bytes = encode_long(ingest_us)
        for raw, event in lines:
            self._accounts.lines_received += 1
            if type(event) is Update:
                try:
                    self._update(event, ingest_us, ingest_bytes)
                except BadLine as error:
                    error.symbol = error.symbol or event.symbol
                    self._reject(raw, error, ingest_us)
            elif isinstance(event, BadLine):
                self._reject(raw, event, ingest_us)
            else:
                self._accounts.filtered[event.counted_as] += 1
            if self.overloaded is not self._told_overloaded:
                self._note_overload()

    def release(self, now_us: int) -> None:
        """Let what is held go to its queues, as far as there is room; it fills the conflation interval of now."""
        for place, held in list(self._held.items()):
            value = self._serializer.encode(place[0], held.record)
            if not self._buffer.offer(held.stream.queue, _queue_record(held.stream, held.record, value)):
                return
            self._accounts.pending -= 1  # the queue counts it from here on
            held.stream.window = self._window(now_us)
            del self._held[place]

    def give_up(self) -> None:
        """Count what is still held as undelivered."""
        for topic, _ in self._held:
            self._accounts.undelivered[topic] += 1
        self._accounts.pending -= len(self._held)
        self._held.clear()

    @property
    def holding(self) -> int:
        """Return how many merged records wait outside the queues."""
        return len(self._held)

    # -- one line -----------------------------------------------------------------------------------------------

    def _update(self, update: Update, ingest_us: int, ingest_bytes: bytes) -> None:
        fields, feed_time, session_bytes = update.fields, update.feed_time, self._session_bytes
        shapes = self._shapes[update.kind]
        names = tuple(fields)
        shape = shapes.known.get(names) or shapes.new(names)
        if shape.unknown:
            self._note_unknown_fields(shape.unknown)
        streams = self._routes[shape.topics].get(update.symbol) or self._route(shape.topics, update.symbol)
        rounded = self._prices.rounded
        # All records of a line are made before the first is let go: a line is dead-lettered whole or not at all.
        values = []
        for stream in streams:
            value = shape.encode[stream.topic](
                fields, feed_time, stream.symbol_bytes, ingest_bytes, session_bytes, stream.seq, stream.after_gap
            )
            if value is None or len(value) > MAX_RECORD_BYTES:
                break
            values.append(value)
        if values and len(values) == len(streams):
            self._offer_all(streams, values, update, ingest_us)
        else:
            self._prices.rounded = rounded
            self._update_slowly(update, ingest_us)

    def _update_slowly(self, update: Update, ingest_us: int) -> None:
        """Do as ``_update`` does, the way that finds what is null, what nobody wants, and what is wrong."""
        topics = record_topics(update)
        streams = self._routes[topics].get(update.symbol) or self._route(topics, update.symbol)
        if not streams:
            self._accounts.filtered["not_subscribed" if topics else "empty"] += 1
            return
        try:
            values = [self._encode(stream, update, ingest_us) for stream in streams]
        except BadLine:
            self._skip(streams)
            raise
        self._offer_all(streams, values, update, ingest_us)

    def _route(self, topics: tuple[Topic, ...], symbol: str) -> tuple[SymbolStream, ...]:
        """Return where the records of a symbol go, as far as they are wanted; remember it, as it holds for long."""
        wanted = self._events.get(symbol, self._topics)
        streams = tuple(self._stream(topic, symbol) for topic in topics if topic in wanted)
        if streams:
            self._routes[topics][symbol] = streams
        return streams

    def _encode(self, stream: SymbolStream, update: Update, ingest_us: int) -> bytes:
        """Make a record whatever the shape of its update; raise ``BadLine`` that says what is wrong."""
        value = self._fast_serializer.encoder(stream.topic)(
            update.fields,
            update.feed_time,
            stream.symbol_bytes,
            encode_long(ingest_us),
            self._session_bytes,
            stream.seq,
            stream.after_gap,
        )
        if value is None:
            value = self._serializer.encode(stream.topic, self._record(stream, update, ingest_us))
        if len(value) > MAX_RECORD_BYTES:
            raise BadLine("record_too_large", f"its record has {len(value)} bytes; Kafka takes {MAX_RECORD_BYTES}")
        return value

    def _record(self, stream: SymbolStream, update: Update, ingest_us: int) -> dict[str, object]:
        stamp = IngestMetadata(ingest_us, self.session_id, stream.seq, stream.after_gap)
        return build_record(stream.topic, update, stamp, self._prices)

    def _offer_all(
        self, streams: tuple[SymbolStream, ...], values: list[bytes], update: Update, ingest_us: int
    ) -> None:
        for stream, value in zip(streams, values):  # noqa: B905 - as many; saying so costs as much as a look-up
            self._offer(stream, value, update, ingest_us)
        self._accounts.split += len(streams) - 1

    def _offer(self, stream: SymbolStream, value: bytes, update: Update, ingest_us: int) -> None:
        self.last_data_us[stream.topic] = ingest_us
        if (
            (self._window_us or self._held or self.overloaded)
            and stream.conflates
            and self._must_wait(stream, ingest_us)
        ):
            self._hold(stream, update, ingest_us)
        elif self._buffer.offer(stream.queue, (ingest_us, stream.key, value, None)):
            stream.after_gap = False
        else:
            self.overloaded = True
            if stream.conflates:
                self._hold(stream, update, ingest_us)
            else:
                stream.after_gap = True
                self._accounts.dropped[stream.topic, "overload"] += 1
        stream.seq += 1

    def _stream(self, topic: Topic, symbol: str) -> SymbolStream:
        streams = self._streams[topic]
        stream = streams.get(symbol)
        if stream is None:
            if len(streams) >= MAX_SYMBOLS:
                raise BadLine("too_many_symbols", f"more than {MAX_SYMBOLS} symbols on {topic}")
            queue = self._buffer.queue_for(topic, symbol.encode())
            stream = streams[symbol] = SymbolStream(topic, symbol, queue)
        return stream

    # -- what is missing ----------------------------------------------------------------------------------------

    def _skip(self, streams: Iterable[SymbolStream]) -> None:
        """Let consumers see that the records of a dead-lettered line are missing."""
        for stream in streams:
            stream.seq += 1
            stream.after_gap = True

    def _mark_gap(self, queue: PartitionQueue, symbol: str) -> None:
        """Let the next record of a symbol tell that one before it is missing: it may have been made already."""
        key, streams = symbol.encode(), self._streams[queue.topic]
        for place, (ingest_us, of, value, reason) in enumerate(queue.waiting):
            if of == key:
                marked = self._serializer.replace_fields(queue.topic, value, after_gap=True)
                queue.waiting[place] = ingest_us, key, marked, reason
                return
        if (queue.topic, symbol) in self._held:
            self._held[queue.topic, symbol].record["after_gap"] = True
        elif symbol in streams:
            streams[symbol].after_gap = True

    # -- conflation and overload --------------------------------------------------------------------------------

    def _must_wait(self, stream: SymbolStream, ingest_us: int) -> bool:
        if self.overloaded or (stream.topic, stream.symbol) in self._held:
            return True
        if not self._window_us:
            return False
        window, stream.window = stream.window, self._window(ingest_us)
        return window == stream.window

    def _window(self, now_us: int) -> int:
        """Return the number of the conflation interval; -1 where nothing is conflated on purpose."""
        return now_us // self._window_us if self._window_us else -1

    def _hold(self, stream: SymbolStream, update: Update, ingest_us: int) -> None:
        rounded = self._prices.rounded
        record = self._record(stream, update, ingest_us)
        self._prices.rounded = rounded  # they were counted when the bytes were made
        stream.after_gap = False
        place = stream.topic, stream.symbol
        held = self._held.get(place)
        if held is None:
            self._held[place] = Held(stream, record)
            self._accounts.pending += 1
        else:
            held.merge(stream, record)
            self._accounts.conflated[stream.topic] += 1

    def _relieve(self) -> None:
        if not self.overloaded or self._buffer.bytes > self._buffer.budget_bytes * RELIEF:
            return
        self.release(wall_us())
        if not self._held:
            self.overloaded = False
            self._note_overload()

    def _note_overload(self) -> None:
        """Tell of a change, once the line that brought it is accounted for: what is told has exact accounts."""
        if self.overloaded is not self._told_overloaded:
            self._told_overloaded = self.overloaded
            self.on_overload(self.overloaded)

    # -- what is no record --------------------------------------------------------------------------------------

    def _reject(self, raw: bytes, error: BadLine, ingest_us: int) -> None:
        letter = self._dead_letters.write(raw, error, session_id=self.session_id, ingest_time_us=ingest_us)
        if not self._buffer.offer(self._buffer.queue_for(Topic.DLQ, letter[1]), letter):
            self.overloaded = True
            self._accounts.dropped[Topic.DLQ, "overload"] += 1

    def _note_unknown_fields(self, names: frozenset[str]) -> None:
        for name in names:
            name = name[:MAX_FIELD_NAME_CHARACTERS]  # noqa: PLW2901 - it is the feed's to choose, its length is not
            if name not in self.unknown_fields and len(self.unknown_fields) >= MAX_UNKNOWN_FIELDS:
                name = "(others)"  # noqa: PLW2901 - the names are the feed's to choose, their number is not
            self.unknown_fields[name] = self.unknown_fields.get(name, 0) + 1


def _queue_record(stream: SymbolStream, record: dict[str, object], value: bytes) -> Record:
    ingest_us: int = record["ingest_time_us"]  # type: ignore[assignment]  # an int, see IngestMetadata
    return ingest_us, stream.key, value, None
