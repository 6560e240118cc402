"""The bridge from a frame to its queues, without socket and Kafka: to count calls and measure stages."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.receiving import receiver
from bridge.aries.subscriptions import plan
from bridge.kafka.partitioner import partition
from bridge.pipeline.assembly import assemble
from bridge.plans import wanted_topics
from bridge.serialization import schemas
from bridge.topics import SUBSCRIBABLE, Topic, topic_names
from tests.programs.bench.frames import symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.pipeline.partition_queue import PartitionQueue
    from tests.programs.bench.frames import Recipe

SESSION_ID: Final = 1_750_858_200_000_000
INGEST_US: Final = 1_750_858_201_234_567
PARTITIONS: Final = 4
#: The bytes of one socket read at 10,000 frames a second.
FRAMES_PER_READ: Final = 12
_EVENTS: Final = ("quotes", "trades", "timesales", "l2")
_NOW: Final = 0.0


class Core:
    """An authenticated and subscribed session, and ingest behind it."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
        compiled: bool = False,
    ) -> None:
        subscriptions = plan(symbols(recipe.symbols), _EVENTS)
        dialect = Envelope() if recipe.dialect == "envelope" else Action()
        pipeline = assemble(
            schemas.load(),
            names=topic_names("bench", {}),
            wanted=wanted_topics(subscriptions),
            dialect=dialect.name,
            partition=partition,
            budget_bytes=1 << 30,
            redact=redact,
            clock=clock,
            compiled_shape=dialect.update_shape if compiled else None,
        )
        self.buffer, self.ingest, self.accounts = pipeline.buffer, pipeline.ingest, pipeline.accounts
        self.buffer.open({topic: PARTITIONS if topic in SUBSCRIBABLE else 1 for topic in Topic})
        self.ingest.start_session(SESSION_ID)
        self.session = Session(dialect, subscriptions, Timing(30, 10, 60), _NOW)
        self.session.authenticate("a-good-token", _NOW)
        self._receiver = receiver(self.session, self.ingest, lambda: None)

    def take(self, frame: bytes) -> None:
        """Take in one frame, as ``Feed`` does it."""
        self.take_all((frame,))

    def take_all(self, frames: Iterable[bytes]) -> None:
        """Take in the frames of one read, as ``Feed`` does it."""
        rest = deque(frames)
        while rest:
            self._receiver.receive(rest, INGEST_US, _NOW)

    def waiting(self) -> Iterator[tuple[Topic, bytes, bytes]]:
        """Yield topic, key and value of the queued records, queue by queue."""
        for queue in self.buffer.queues():
            for record in queue.waiting:
                _, key, value, *_ = record
                assert key is not None
                yield queue.line_topic, key, value

    def acknowledge(self) -> None:
        """Mark everything queued as published."""
        for queue in self.buffer.take_ready():
            self._land(queue)

    def _land(self, queue: PartitionQueue) -> None:
        self.buffer.start_batch(queue, len(queue.waiting), _NOW)
        self.buffer.acknowledge(queue)
