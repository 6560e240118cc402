"""Take frames through session, dialect, ingest and serialization, and look at what comes out for each line."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import Authenticated
from bridge.aries.subscriptions import Plan
from bridge.clock import SessionIds
from bridge.explain.explanation import ClearedField, ExplainedRecord, Explanation
from bridge.kafka.partitioner import partition
from bridge.pipeline.assembly import assemble
from bridge.serialization import schemas
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.capture.reader import DialectName
    from bridge.market_data import Line
    from bridge.pipeline.bad_fields import Example

#: More than one line can become.
_BUDGET_BYTES: Final = 1 << 30
#: A symbol that the feed does not send; all others get the topics of all subscriptions.
_ANY_SYMBOL: Final = ""
_HOUR_SECONDS: Final = 3600


class Explainer:
    """A pipeline of one dialect in which each line is looked at before the next.

    Every symbol counts as subscribed to all events. ``names`` are the topics' names, ``partitions`` is the partition
    count of topics with symbols as keys, ``is_full`` whether a level-2 message has all rows, if that is known.
    """

    def __init__(
        self, dialect: DialectName, names: Mapping[Topic, str], partitions: int, *, is_full: bool | None = None
    ) -> None:
        loaded = schemas.load()
        self._dialect = Envelope() if dialect == "envelope" else Action()
        self._names = names
        self._serializer = Serializer(loaded, single_object_prefixes(loaded))
        self._schema_names = {topic: schema.name for topic, schema in loaded.items()}
        self._pipeline = assemble(
            loaded,
            names=names,
            wanted={_ANY_SYMBOL: frozenset(SUBSCRIBABLE)},
            dialect=dialect,
            partition=partition,
            budget_bytes=_BUDGET_BYTES,
            is_full=is_full,
            clock=count(step=_HOUR_SECONDS).__next__,  # so that dead letters have no rate
        )
        self._pipeline.buffer.open({topic: partitions if topic in SUBSCRIBABLE else 1 for topic in Topic})
        self._session_ids = SessionIds()
        self._session: Session | None = None

    def reconnect(self) -> None:
        """Take what follows as received on another connection."""
        self._session = None

    def explain(self, frame: bytes, time_us: int) -> Iterator[Explanation]:
        """Yield what becomes of each line of a frame that was received at this time."""
        now = time_us / 1e6
        frames = deque((frame,))
        while frames:
            session = self._open_session(now)
            lines, before_event = session.receive_some(frames, now)
            yield from self._ingest(lines[:before_event], time_us)
            self._handle_events(session, now)
            yield from self._ingest(lines[before_event:], time_us)
            if session.lost is not None:
                self.reconnect()

    def _open_session(self, now: float) -> Session:
        """Return the session, with a token sent, so that answers and data are expected."""
        if self._session is None:
            self._session = Session(self._dialect, Plan(), Timing(), now)
            self._session.authenticate("", now)
        return self._session

    def _handle_events(self, session: Session, now: float) -> None:
        """Do what the client does about the events of a session, as far as records depend on it."""
        for event in session.take_events():
            if isinstance(event, Authenticated) and (event.expired or not event.again):
                self._pipeline.ingest.start_session(self._session_ids.next())
        if session.token_required:
            session.authenticate("", now)
        session.take_outgoing(now)

    def _ingest(self, lines: list[Line], time_us: int) -> Iterator[Explanation]:
        for line in lines:
            yield self._ingest_line(line, time_us)

    def _ingest_line(self, line: Line, time_us: int) -> Explanation:
        ingest, accounts = self._pipeline.ingest, self._pipeline.accounts
        filtered, unknown = accounts.filtered.copy(), ingest.unknown_fields.copy()
        bad = ingest.bad_fields.counts.copy()
        ingest.ingest((line,), time_us)
        return Explanation(
            records=tuple(self._take_records()),
            filtered=next(iter(accounts.filtered - filtered), None),
            cleared=tuple(
                _cleared(self._names[topic], name, ingest.bad_fields.examples[topic, name])
                for topic, name in ingest.bad_fields.counts - bad
            ),
            unknown_fields=tuple(name for name, seen in ingest.unknown_fields.items() if seen != unknown.get(name)),
        )

    def _take_records(self) -> Iterator[ExplainedRecord]:
        """Yield the records in the queues, and empty these, as if Kafka had taken them."""
        buffer = self._pipeline.buffer
        for queue in buffer.take_ready():
            for _, key, value, _ in queue.waiting:
                record = self._serializer.decode(queue.line_topic, value)
                yield ExplainedRecord(
                    queue.line_topic, queue.name, queue.partition, key, self._schema_names[queue.line_topic], record
                )
            buffer.start_batch(queue, len(queue.waiting), 0)
            buffer.acknowledge(queue)


def _cleared(topic: str, field: str, example: Example) -> ClearedField:
    return ClearedField(topic, field, example.value, example.expected)
