"""A producer that a test answers for: every batch, leader and topic is the test's to decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import ProducerClosed

from bridge.kafka.produce_requests import BatchAnswer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bridge.kafka.broker_support import Lack
    from bridge.kafka.produce_requests import OnAnswers, OutgoingBatch


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch that was sent, and who is told the answer to come."""

    topic: str
    partition: int
    records: int
    on_answers: OnAnswers

    def acknowledge(self) -> None:
        """Answer as a broker that has it."""
        self.on_answers([BatchAnswer(self.topic, self.partition, None)])

    def reject(self, error: Exception) -> None:
        """Answer with an error."""
        self.on_answers([BatchAnswer(self.topic, self.partition, error)])


@dataclass(slots=True)
class FakeProducer:
    """A producer of topics with one partition each; ``missing`` topics have none, ``leaderless`` ones no leader.

    The brokers of ``busy`` ones have something to answer since then.
    """

    sent: list[SentBatch] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    leaderless: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    busy: dict[str, float] = field(default_factory=dict)
    silence: str = ""
    last_failure: str = ""
    lack: Lack | None = None
    ended: bool = False
    stranded: bool = False
    metadata_requests: int = 0
    rewound: list[tuple[str, int, int]] = field(default_factory=list)
    closed: bool = False
    abandoned: bool = False

    def send(self, batches: Sequence[OutgoingBatch], on_answers: OnAnswers) -> None:
        """Record the batches, for the test to answer."""
        if self.ended:
            raise ProducerClosed
        self.sent += [SentBatch(topic, number, batch.records, on_answers) for topic, number, batch in batches]

    def busy_since(self, topic: str, partition: int) -> float | None:
        """Return what the test says."""
        return self.busy.get(topic)

    def rewind(self, topic: str, partition: int, records: int) -> None:
        """Record which batch's sequence number is used again."""
        self.rewound.append((topic, partition, records))

    def unsupported(self, compression: str) -> Lack | None:
        """Return what the test says of any compression."""
        return self.lack

    def partitions(self, topic: str) -> Collection[int]:
        """Return one partition, unless the topic is missing."""
        return () if topic in self.missing else (0,)

    def may_describe(self, topic: str) -> bool:
        """Return what the test says."""
        return topic not in self.hidden

    def has_leader(self, topic: str, partition: int) -> bool:
        """Return whether the test left the topic its leader."""
        return topic not in self.missing | self.leaderless

    def refresh_metadata(self) -> None:
        """Count the request."""
        self.metadata_requests += 1

    def has_ended(self) -> bool:
        """Return what the test says."""
        return self.ended

    async def has_topic(self, topic: str) -> bool:
        """Return whether the test left the topic there."""
        return topic not in self.missing

    async def why_silent(self) -> str:
        """Return what the test says."""
        return self.silence

    async def is_stranded(self, options: Mapping[str, object]) -> bool:
        """Return what the test says."""
        return self.stranded

    async def close(self) -> None:
        """Note it."""
        self.closed = True

    async def abandon(self) -> None:
        """Note it."""
        self.abandoned = True
