"""From lines to records in their queues: synchronous, and every line is accounted for before the next is looked at.

A full buffer never stops the socket: quotes and greeks are then conflated, everything else is dropped, visibly
(``seq`` jumps, ``after_gap`` on the next record, OVERLOAD on control, the account).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

import structlog

from bridge import log_events
from bridge.errors import BadField, BadLine, Undecodable
from bridge.market_data import Update, UpdateKind, correction_field
from bridge.pipeline.bad_fields import BadFields
from bridge.pipeline.conflation import Conflation
from bridge.pipeline.incidents import ignore_incident
from bridge.pipeline.last_prices import LastPrices
from bridge.pipeline.partition_queue import MAX_RECORD_BYTES
from bridge.pipeline.routing import Router, skip
from bridge.serialization.fast import FieldLayoutCache, encode_long
from bridge.serialization.field_mappings import REQUIRED_FIELDS
from bridge.serialization.readable_fields import readable
from bridge.serialization.records import IngestMetadata, build_record, is_empty
from bridge.topics import MARKET_DATA, LatestTopic, Topic

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable, Mapping

    from bridge.market_data import Line
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.dead_letters import DeadLetters
    from bridge.pipeline.latest import LatestStates
    from bridge.pipeline.overload import Overload
    from bridge.pipeline.partition_queue import PartitionQueue, Record
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.pipeline.routing import SymbolStream
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.fast import FastSerializer, FieldLayout
    from bridge.serialization.serializer import Serializer

    #: As the session's, but for the time of reading (µs since the epoch), which comes first.
    TakeLines = Callable[[int, deque[bytes], int, int, int], tuple[int, int, int]]

log = structlog.get_logger(__name__)

#: Names of unknown fields that are counted one by one, and how much of each is kept; the rest share one name.
MAX_UNKNOWN_FIELDS: Final = 100
MAX_FIELD_NAME_CHARACTERS: Final = 100
OTHER_FIELDS: Final = "(others)"


class Ingest:
    """The way from a line to its records, and the account of each line."""

    def __init__(
        self,
        *,
        serializer: Serializer,
        fast_serializer: FastSerializer,
        decimals: DecimalEncoder,
        buffer: RecordBuffer,
        accounts: Accounts,
        overload: Overload,
        dead_letters: DeadLetters,
        wanted: Mapping[str, frozenset[Topic]],
        market_status: bool = True,
        conflate_ms: int = 0,
        is_full: bool | None = None,
        latest: LatestStates | None = None,
        on_incident: Callable[[str, str], None] = ignore_incident,
    ) -> None:
        self.unknown_fields: dict[str, int] = {}
        self.bad_fields = BadFields(on_incident)
        self.last_data_us: dict[Topic, int] = {}
        self.session_id = 0
        self.overload = overload
        self.latest = latest
        self._is_full = is_full
        self.conflation = Conflation(serializer, buffer, accounts, overload, conflate_ms)
        self._router = Router(buffer, wanted, market_status=market_status)
        self.routes = self._router.routes
        self.last_prices = LastPrices()
        self._serializer = serializer
        self._layouts = {kind: FieldLayoutCache(kind, fast_serializer) for kind in UpdateKind}
        self._decimals = decimals
        self._buffer = buffer
        self._accounts = accounts
        self._dead_letters = dead_letters
        #: Takes usual lines from frames (``bridge.pipeline.compiled``); None: all lines are to be given to ``ingest``.
        self.take_lines: TakeLines | None = None
        self._on_incident = on_incident
        #: How many control records were acknowledged when a rejected one was last logged.
        self._announced_when_rejected = -1

    def start_session(self, session_id: int, includes: Callable[[str], bool] | None = None) -> None:
        """Count ``seq`` from 0 again; the first record of each symbol is after a gap.

        ``includes`` returns whether a symbol has part in the session, if not all have.
        """
        self.session_id = self._dead_letters.session_id = session_id
        self._router.start_session(session_id, includes)
        if self.latest is not None:
            self.latest.start_session(includes)

    def set_market_status(self, *, wanted: bool) -> None:
        """Publish the market status from now on, or not."""
        self._router.set_market_status(wanted=wanted)

    def drop(self, includes: Callable[[str], bool], reason: str | None) -> int:
        """Drop all records of these symbols that are not acknowledged; return how many.

        Without a reason they are undelivered. Those in flight may have been published. What copies them (latest states)
        is forgotten, too.
        """
        dropped = self.conflation.drop(includes, reason) + self._buffer.drop(includes, reason)
        if self.latest is not None:
            self.latest.start_session(includes)
        self.overload.announce()
        return dropped

    def set_wanted(self, wanted: Mapping[str, frozenset[Topic]]) -> None:
        """Publish the records of these symbols on these topics from now on."""
        self._router.set_wanted(wanted)

    def follow_prices(self, symbols: Collection[str]) -> None:
        """Keep the last prices of these symbols from now on; updates of all others cost nothing."""
        self.last_prices.follow(symbols)
        self._router.set_unremembered(symbols)

    def streams(self, topic: Topic) -> Mapping[str, SymbolStream]:
        """Return the streams of the symbols that have had a record on a topic in this session."""
        return self._router.streams(topic)

    def ingest(self, lines: Iterable[Line], ingest_us: int) -> None:
        """Account for lines read at one time (µs since the epoch), each before the next, and queue their records."""
        ingest_bytes = encode_long(ingest_us)
        accounts, overload = self._accounts, self.overload
        for raw, event in lines:
            accounts.lines_received += 1
            if type(event) is Update:
                try:
                    self._update(event, ingest_us, ingest_bytes)
                except BadLine as error:
                    error.symbol = error.symbol or event.symbol
                    self._dead_letters.queue(raw, error, ingest_us)
            elif isinstance(event, BadLine):
                self._dead_letters.queue(raw, event, ingest_us)
            else:
                accounts.filtered[event.counted_as] += 1
            if overload.active is not overload.announced:
                overload.announce()

    def reject_waiting(self, queue: PartitionQueue, place: int, error: BadLine) -> None:
        """Dead-letter a waiting record that Kafka rejects; the next one of its symbol says that it is missing."""
        symbol = self._reject(queue, self._buffer.remove_waiting(queue, place), error)
        if symbol is not None:
            self._mark_gap(queue, symbol, place)

    def reject_suspects(self, queue: PartitionQueue, why: Callable[[Record], BadLine]) -> None:
        """Dead-letter the records that were set aside as Kafka rejects them; ``why`` makes the reason of each."""
        suspects, marked = queue.take_suspects()
        symbols: dict[str, None] = {}
        for record in suspects:
            self._buffer.forget(queue, record)
            if (symbol := self._reject(queue, record, why(record))) is not None:
                symbols[symbol] = None
        for symbol in symbols:
            if symbol.encode() != marked:
                self._mark_gap(queue, symbol)

    def set_aside_first(self, queue: PartitionQueue) -> None:
        """Set the first waiting record of a queue aside, until the next one shows whether it is at fault."""
        queue.set_aside_first(self._gap_marker(queue))

    def _reject(self, queue: PartitionQueue, record: Record, error: BadLine) -> str | None:
        """Dead-letter a record; return the symbol whose consumers miss it."""
        ingest_us, key, value, _ = record
        if queue.topic in MARKET_DATA:
            assert key is not None  # a symbol, as for every market record
            error.symbol = key.decode()
            self._dead_letters.queue(value, error, ingest_us, self._session_of(queue.line_topic, value))
            self.overload.announce()
        elif queue.topic is Topic.DLQ:
            self._accounts.dropped[Topic.DLQ, error.reason] += 1
        elif isinstance(queue.topic, LatestTopic):
            self._accounts.latest_rejected += 1
        else:
            self._count_rejected_control_record(error)
        return error.symbol

    def shed(self, queue: PartitionQueue, max_records: int) -> None:
        """Drop the newest records of a stalled queue that are beyond what stalled queues may hold."""
        for _ in range(self._buffer.excess_records(queue, max_records)):
            _, key, _, _ = self._buffer.remove_waiting(queue, len(queue.waiting) - 1)
            self._accounts.dropped[queue.line_topic, "overload"] += 1
            self.overload.begin(queue)
            if key is not None and queue.topic in MARKET_DATA:
                self._mark_unqueued_gap(queue, key.decode())
        self.overload.announce()

    def release(self, now_us: int) -> bool:
        """Queue conflated records that are due, as far as there is room; return whether more can be queued at once."""
        return self._release(now_us, due_only=True)

    def release_all(self, now_us: int) -> bool:
        """Queue conflated records of all queues that have room; return whether some were queued, and more may wait."""
        waiting = len(self.conflation)
        self._release(now_us, due_only=False)
        self.release_after_overload(now_us)
        return len(self.conflation) < waiting

    def _release(self, now_us: int, *, due_only: bool) -> bool:
        goes_on = self.conflation.release(now_us, due_only=due_only)
        self.overload.announce()
        return goes_on

    def release_after_overload(self, now_us: int) -> None:
        """Queue conflated records of queues that have room again; overload ends when no queue lacks room."""
        if self.overload.active:
            for queue in self.overload.recoverable():
                queue.is_overloaded = False
                self.conflation.release_queue(queue, now_us)
                if queue.has_conflated:
                    queue.is_overloaded = True
                    break  # the rest when this one has drained
                self.overload.end(queue)
            self.overload.announce()

    def give_up(self) -> None:
        """Count conflated records that still wait as undelivered; the end of a flood of dead letters is logged."""
        self.conflation.give_up()
        self._dead_letters.limit.end()

    def check_dead_letters(self) -> None:
        """Log the end of a flood of dead letters if it has ended; to be called now and then."""
        self._dead_letters.limit.check()

    # -- one update ---------------------------------------------------------------------------------------------

    def _update(self, update: Update, ingest_us: int, ingest_bytes: bytes) -> None:
        fields, feed_time = update.fields, update.feed_time
        layouts = self._layouts[update.kind]
        names = tuple(fields)
        layout = layouts.known.get(names) or layouts.new(names)
        if layout.unknown:
            self._count_unknown_fields(layout.unknown)
            if layout.corrections and (name := correction_field(fields, layout.corrections)) is not None:
                raise BadLine("unknown_kind", f"{name}: a cancel or correction is not published as an execution")
        streams = self.routes[layout.topics].get(update.symbol) or self._route(layout.topics, update)
        rounded = self._decimals.rounded
        # All records of a line are made before the first is queued: a line is dead-lettered whole or not at all.
        values = []
        for stream in streams:
            value = layout.encode[stream.topic](
                fields, feed_time, stream.symbol_bytes, ingest_bytes, stream.session_bytes, stream.seq, stream.after_gap
            )
            if value is None or len(value) > MAX_RECORD_BYTES:
                break
            values.append(value)
        if values and len(values) == len(streams):
            self._queue_all(streams, values, update, ingest_us)
        else:
            self._decimals.rounded = rounded
            self._update_slowly(update, layout, streams, ingest_us)

    def _route(self, topics: tuple[Topic, ...], update: Update) -> tuple[SymbolStream, ...]:
        """Return the streams of an update whose route is not remembered, as of a symbol whose price is followed."""
        self.last_prices.observe(update)
        return self._router.route(topics, update.symbol)

    def _update_slowly(
        self, update: Update, layout: FieldLayout, streams: tuple[SymbolStream, ...], ingest_us: int
    ) -> None:
        """Do as ``_update``, whatever the values: what cannot be read becomes null; the error names what is wrong."""
        if not streams or all(is_empty(stream.topic, update.fields) for stream in streams):
            self._accounts.filtered["not_subscribed" if layout.topics and not streams else "empty"] += 1
            return
        try:
            update, unreadable, has_content = readable(update, [stream.topic for stream in streams], self._decimals)
            if not has_content:
                raise BadField(unreadable[0].name, unreadable[0].value, unreadable[0].expected)
            values = [self._serialize(stream, update, layout, ingest_us) for stream in streams]
        except BadLine as error:
            skip(streams)
            if self.latest is not None:
                self.latest.forget(update.symbol, [stream.topic for stream in streams])
            error.records = len(streams)
            raise
        self.bad_fields.add(unreadable, update.symbol, ingest_us)
        self._queue_all(streams, values, update, ingest_us)

    def _serialize(self, stream: SymbolStream, update: Update, layout: FieldLayout, ingest_us: int) -> bytes:
        """Return the record of a readable update; raise ``BadLine`` that says what is wrong."""
        required = REQUIRED_FIELDS.get(stream.topic)
        if required is not None and update.fields.get(required) is None:
            text = f"{required}: missing or unreadable, and a record of {stream.topic} needs it"
            raise BadLine("bad_field", text)
        value = layout.encode[stream.topic](
            update.fields,
            update.feed_time,
            stream.symbol_bytes,
            encode_long(ingest_us),
            stream.session_bytes,
            stream.seq,
            stream.after_gap,
        )
        if value is None:
            value = self._serializer.encode(stream.topic, self._record(stream, update, ingest_us))
        if len(value) > MAX_RECORD_BYTES:
            raise BadLine("record_too_large", f"its record has {len(value)} bytes; Kafka takes {MAX_RECORD_BYTES}")
        return value

    def _record(self, stream: SymbolStream, update: Update, ingest_us: int) -> dict[str, object]:
        metadata = IngestMetadata(ingest_us, stream.session_id, stream.seq, stream.after_gap, self._is_full)
        return build_record(stream.topic, update, metadata, self._decimals)

    def _queue_all(
        self, streams: tuple[SymbolStream, ...], values: list[bytes], update: Update, ingest_us: int
    ) -> None:
        if self.latest is not None:
            self.latest.note(streams, update, ingest_us)
        conflation = self.conflation
        for stream, value in zip(streams, values):  # noqa: B905 - equally many; strict= costs as much as a look-up
            self.last_data_us[stream.topic] = ingest_us
            queue = stream.queue
            if stream.conflates and (
                queue.is_overloaded
                or ((queue.has_conflated or conflation.interval_us) and conflation.is_due(stream, ingest_us))
            ):
                self._conflate(stream, update, ingest_us, len(value))
            elif self._buffer.offer(queue, (ingest_us, stream.key, value, None)):
                stream.after_gap = False
            else:
                self._note_no_room(stream, update, ingest_us, len(value))
            stream.seq += 1
        self._accounts.split += len(streams) - 1

    def _note_no_room(self, stream: SymbolStream, update: Update, ingest_us: int, value_bytes: int) -> None:
        """Conflate or drop a record that finds no room in its queue."""
        self.overload.begin(stream.queue)
        if stream.conflates:
            self._conflate(stream, update, ingest_us, value_bytes)
        else:
            stream.after_gap = True
            self._accounts.dropped[stream.topic, "overload"] += 1

    def _conflate(self, stream: SymbolStream, update: Update, ingest_us: int, value_bytes: int) -> None:
        rounded = self._decimals.rounded
        record = self._record(stream, update, ingest_us)
        self._decimals.rounded = rounded  # they were counted when the record was serialized
        stream.after_gap = False
        self.conflation.hold(stream, record, value_bytes)

    # -- beside the updates -------------------------------------------------------------------------------------

    def _session_of(self, topic: Topic, value: bytes) -> int | None:
        """Return the session of a market record; None if it cannot be read, which must not keep it from being kept."""
        try:
            return cast("int", self._serializer.decode(topic, value)["session_id"])
        except Undecodable:
            return None

    def _mark_gap(self, queue: PartitionQueue, symbol: str, start: int = 0) -> None:
        """Let the next record of a symbol say that one before it is missing: it may have been made already."""
        if not queue.mark_next(symbol.encode(), self._gap_marker(queue), start):
            self._mark_unqueued_gap(queue, symbol)

    def _gap_marker(self, queue: PartitionQueue) -> Callable[[bytes], bytes]:
        """Return what sets ``after_gap`` in a record of a queue."""
        if isinstance(queue.topic, LatestTopic):
            return bytes  # as it is: the next state is whole without the one before
        return partial(self._serializer.replace_fields, queue.topic, after_gap=True)

    def _mark_unqueued_gap(self, queue: PartitionQueue, symbol: str) -> None:
        """Let the next record of a symbol that is not queued yet say that one before it is missing."""
        if self.conflation.mark_gap(queue, symbol):
            return
        if (stream := self._router.known_stream(queue.line_topic, symbol)) is not None:
            stream.after_gap = True

    def _count_rejected_control_record(self, error: BadLine) -> None:
        """Count a record of our own that Kafka rejects; log the first since one was acknowledged."""
        accounts = self._accounts
        accounts.control_rejected += 1
        if accounts.announced != self._announced_when_rejected:
            self._announced_when_rejected = accounts.announced
            log.error(log_events.CONTROL_RECORD_REJECTED, reason=str(error), rejected=accounts.control_rejected)

    def _count_unknown_fields(self, names: frozenset[str]) -> None:
        for name in names:  # the feed chooses them, so their length and their number are bounded
            counted = name[:MAX_FIELD_NAME_CHARACTERS]
            if counted not in self.unknown_fields and len(self.unknown_fields) >= MAX_UNKNOWN_FIELDS:
                counted = OTHER_FIELDS
            if counted not in self.unknown_fields:
                self._on_incident("unknown_field", counted)
            self.unknown_fields[counted] = self.unknown_fields.get(counted, 0) + 1
