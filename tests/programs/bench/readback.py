"""The check of a run's records: each must be there once, in order within its symbol."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bridge.errors import Undecodable
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.verify.record_header import HeaderReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.serialization.schemas import Schema
    from bridge.topics import Topic
    from tests.programs.bench.brokers import Target

ANSWER_DEADLINE_SECONDS: Final = 20.0
_AT_ONCE: Final = 5000
_HINT: Final = "A bridge beside ours may have schemas of its own: name their folder by --beside-schemas"


class Void(Exception):
    """An error: a run does not count, and why."""


class Consuming:
    """A consumer of one run's topics, with librdkafka, which shares no code with the bridge."""

    def __init__(self, target: Target, topics: list[Topic], further_schemas: Sequence[Schema] = ()) -> None:
        """Expect records of our schemas, or of further ones with the same names and header fields."""
        self._further_schemas = further_schemas
        names = target.names()
        self._topics = {names[topic]: topic for topic in topics}
        self._consumer = Consumer(
            {
                "bootstrap.servers": target.bootstrap_servers,
                "group.id": "bench",  # required by the library; never joined
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        metadata = self._consumer.list_topics(timeout=ANSWER_DEADLINE_SECONDS).topics
        self._partitions = [
            TopicPartition(name, number) for name in self._topics for number in metadata[name].partitions
        ]

    def __len__(self) -> int:
        """Return the present number of records in the topics."""
        ends = (self._consumer.get_watermark_offsets(one, ANSWER_DEADLINE_SECONDS) for one in self._partitions)
        return sum(high for _, high in ends)

    def check(self, expected: Mapping[Topic, Mapping[str, int]]) -> None:
        """Read everything; raise Void if a record is missing, repeated, out of order, or of no schema of ours."""
        try:
            asyncio.run(self._check(expected))
        except Undecodable as error:
            raise Void(f"a record cannot be decoded: {error}. {_HINT}") from error

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    async def _check(self, expected: Mapping[Topic, Mapping[str, int]]) -> None:
        loaded = schemas.load()
        decoder = Deserializer(loaded, released=self._further_schemas)
        readers = {name: HeaderReader(topic, loaded[topic], decoder) for name, topic in self._topics.items()}
        found: dict[Topic, Counter[bytes]] = {topic: Counter() for topic in self._topics.values()}
        self._consumer.assign([TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in self._partitions])
        left = sum(sum(counts.values()) for counts in expected.values())
        sessions: set[int] = set()
        while left > 0:
            messages = self._consumer.consume(min(_AT_ONCE, left), ANSWER_DEADLINE_SECONDS)  # waits for so many
            if not messages:
                raise Void(f"{left} records cannot be read: lost, or no longer kept by the broker")
            left -= len(messages)
            for message in messages:
                name: Any = message.topic()
                value: Any = message.value()
                reader = readers[name]
                symbol, _, session_id, seq, _ = reader.read(value) or await reader.decode(value)
                counts = found[self._topics[name]]
                if message.key() != symbol or seq != counts[symbol]:
                    raise Void(f"{name}: {symbol!r} has seq {seq} in place of {counts[symbol]}")
                counts[symbol] += 1
                sessions.add(session_id)
        _compare(found, expected, sessions)


def _compare(
    found: Mapping[Topic, Mapping[bytes, int]], expected: Mapping[Topic, Mapping[str, int]], sessions: set[int]
) -> None:
    wanted = {topic: {symbol.encode(): count for symbol, count in counts.items()} for topic, counts in expected.items()}
    if found != wanted:
        raise Void("the symbols do not have as many records as they had lines")
    if len(sessions) > 1:
        raise Void(f"the records are of {len(sessions)} sessions: the connection was lost in between")
