"""The two ways from frames to queues, with the compiled step and without, and all that must be equal between them."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import Authenticated
from bridge.aries.receiving import receiver
from bridge.aries.subscriptions import plan
from bridge.kafka.partitioner import partition
from bridge.pipeline.assembly import assemble
from bridge.serialization import schemas
from bridge.topics import MARKET_DATA, AnyTopic, LatestTopic, Topic, latest_topic_names, topic_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.pipeline.partition_queue import PartitionQueue

DialectName = Literal["action", "envelope"]
#: C is subscribed to for quotes alone, D is followed for its price, and all others are unknown.
SYMBOLS: Final = ("A", "B", "C", "D")
EVENTS: Final = frozenset({Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS})
WANTED: Final = {"A": EVENTS, "B": EVENTS, "C": frozenset({Topic.QUOTES}), "D": EVENTS}
DATA: Final = {
    "envelope": b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"A","bidSize":1}}}',
    "action": b'{"type":"equityComposite","data":{"symbol":"A","bidSize":1}}',
}
START_US: Final = 1_750_858_200_000_000
_SCHEMAS: Final = schemas.load()
_DIALECTS: Final = {"envelope": Envelope, "action": Action}


class Way:
    """A session and the pipeline behind it, that have seen data."""

    def __init__(
        self,
        dialect: DialectName,
        *,
        compiled: bool,
        budget_bytes: int = 1 << 30,
        conflate_ms: int = 0,
        latest: bool = False,
        is_full: bool | None = None,
    ) -> None:
        names: dict[AnyTopic, str] = dict([*topic_names("t", {}).items(), *latest_topic_names("t", {}).items()])
        self.dialect = _DIALECTS[dialect]()
        self.pipeline = assemble(
            _SCHEMAS,
            names=names,
            wanted=WANTED,
            dialect=dialect,
            partition=partition,
            budget_bytes=budget_bytes,
            conflate_ms=conflate_ms,
            is_full=is_full,
            clock=lambda: 0.0,
            latest={"A": {Topic.QUOTES: frozenset({"bidPrice"})}} if latest else None,
            compiled_shape=self.dialect.update_shape if compiled else None,
        )
        self.pipeline.buffer.open(dict.fromkeys((*Topic, *LatestTopic), 2))
        self.ingest, self.buffer = self.pipeline.ingest, self.pipeline.buffer
        self.ingest.follow_prices(("D",))
        self.now_us = START_US
        self.session_id = 0
        #: How many lines the compiled step has taken.
        self.taken = 0
        if (take := self.ingest.take_lines) is not None:

            def count(*arguments: Any) -> tuple[int, int, int]:
                result = take(*arguments)
                self.taken += result[1]
                return result

            self.ingest.take_lines = count
        self.reconnect()
        self.receive(DATA[dialect])

    def reconnect(self) -> None:
        """Start a connection, with a token sent."""
        self.session = Session(self.dialect, plan(SYMBOLS, ("quotes",)), Timing(), 0.0)
        self.session.authenticate("a-good-token", 0.0)
        self._receiver = receiver(self.session, self.ingest, self._handle_events)

    def receive(self, *frames: bytes) -> None:
        """Handle these frames, in as many turns as that takes."""
        self.now_us += 1000
        rest = deque(frames)
        while rest:
            self._receiver.receive(rest, self.now_us, self.now_us / 1e6)
        self._handle_events()

    def acknowledge(self) -> None:
        """Let Kafka take what waits, once."""
        for queue in self.buffer.take_ready():
            self.buffer.start_batch(queue, len(queue.waiting), 0.0)
            self.buffer.acknowledge(queue)
        self.ingest.release_after_overload(self.now_us)

    def start_again(self) -> None:
        """Let Kafka take everything, and start a new session on a new connection."""
        while self.pipeline.accounts.pending:
            self.ingest.release_all(self.now_us)
            self.acknowledge()
        self.reconnect()
        self.receive(DATA[self.dialect.name])
        self.acknowledge()

    def _handle_events(self) -> None:
        for event in self.session.take_events():
            if isinstance(event, Authenticated) and (event.expired or not event.again):
                self.session_id += 1
                self.ingest.start_session(self.session_id)
                self.pipeline.control.start_session(self.session_id)

    def state(self) -> dict[str, Any]:
        """Return all that consumers, metrics and the rest of the bridge can see of what was received."""
        ingest, buffer, accounts = self.ingest, self.buffer, self.pipeline.accounts
        keep_alive = self.session.keep_alive
        return {
            "queues": {(queue.topic, queue.partition): self._queue(queue) for queue in buffer.queues()},
            "accounts": {name: getattr(accounts, name) for name in accounts.__slots__},
            "balance": accounts.balance,
            "streams": {
                (topic, symbol): (stream.seq, stream.after_gap, stream.interval)
                for topic in MARKET_DATA
                for symbol, stream in ingest.streams(topic).items()
            },
            "last data": ingest.last_data_us,
            "unknown fields": ingest.unknown_fields,
            "bad fields": (ingest.bad_fields.counts, ingest.bad_fields.examples),
            "last price": ingest.last_prices.get("D"),
            "rounded": self.pipeline.decimals.rounded,
            "buffer": (buffer.bytes, buffer.stalled_bytes, len(ingest.conflation)),
            "overload": (ingest.overload.active, ingest.overload.announced),
            "session": (keep_alive.first_data, keep_alive.last_data, keep_alive.hours, self.session.lost is None),
        }

    def _queue(self, queue: PartitionQueue) -> tuple[object, ...]:
        # The time of a control record is that of the wall clock.
        records = [record[1] for record in queue.waiting] if queue.topic is Topic.CONTROL else [*queue.waiting]
        flags = queue.is_ready, queue.is_stalled, queue.is_overloaded, queue.has_conflated
        return records, queue.bytes if queue.topic is not Topic.CONTROL else 0, flags


_used: dict[Any, Any] = {}


class Both:
    """Both ways, which do the same."""

    def __init__(self, dialect: DialectName, **settings: Any) -> None:
        self.compiled = Way(dialect, compiled=True, **settings)
        self.python = Way(dialect, compiled=False, **settings)

    @classmethod
    @contextmanager
    def used_again(cls, dialect: DialectName, **settings: Any) -> Iterator[Self]:
        """Return ways that were used before, as to make them takes as long as to use them; unless they differed."""
        key = dialect, *settings.items()
        both = _used.pop(key, None) or cls(dialect, **settings)
        yield both
        for way in both:
            way.start_again()
        _used[key] = both

    def __iter__(self) -> Any:
        return iter((self.compiled, self.python))

    def receive(self, frames: Iterable[bytes]) -> None:
        """Handle frames in both ways; raise ``AssertionError`` unless they come to the same."""
        frames = list(frames)
        for way in self:
            way.receive(*frames)
        self.compare()

    def acknowledge(self) -> None:
        """Let Kafka take what waits, once, in both ways."""
        for way in self:
            way.acknowledge()

    def compare(self) -> None:
        """Raise ``AssertionError`` unless both have come to the same."""
        ours, theirs = self.compiled.state(), self.python.state()
        for what, state in theirs.items():
            assert ours[what] == state, what
