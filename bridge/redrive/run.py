"""One run: read letters, process them again, publish, and only then commit the group's position.

So nothing is lost if the process is killed at any moment. What was published and not committed comes again, with the
same ``DEAD_LETTER_HEADER``. Nothing is ever written to the dead-letter topic, and the run ends at the ends that its
partitions had when it started: it cannot loop.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.clock import wall_us
from bridge.errors import TopicConfigurationError, Undecodable
from bridge.kafka.client_options import client_options
from bridge.kafka.consumer import open_consumer
from bridge.kafka.partition_counts import check_equal_partition_counts
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.record_batch import batch_maker
from bridge.pipeline.dead_letters import RECORD_REJECTED
from bridge.plans import wanted_topics
from bridge.redrive.letters import Letters
from bridge.redrive.publishing import Marked, RecordPublisher
from bridge.redrive.report import Report
from bridge.redrive.reprocessing import Outcome, Reprocessing, Result
from bridge.serialization import schemas
from bridge.serialization.decoding import open_deserializer
from bridge.serialization.schema_registry import Registry
from bridge.topics import SUBSCRIBABLE, Topic, topics_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    from bridge.aries.subscriptions import Plan
    from bridge.serialization.deserializer import Deserializer
    from bridge.settings import Settings

#: The header with the run that published a record: when it started (µs since the epoch).
RUN_HEADER: Final = "aries.redrive"
#: The header with the place of the dead letter: partition/offset. It is the same if a record is published again.
DEAD_LETTER_HEADER: Final = "aries.dead-letter"
#: How long the first connection of the producer may take.
START_TIMEOUT_SECONDS: Final = 30.0
#: What a letter is counted under that cannot be decoded.
UNDECODABLE: Final = "undecodable"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are redriven: of these reasons (none: all), written from then on, at most so many."""

    reasons: frozenset[str] = frozenset()
    since_us: int | None = None
    max_letters: int | None = None


class Redrive:
    """A run of the command; its report is complete up to where it was interrupted."""

    def __init__(
        self, settings: Settings, plan: Plan | None, selection: Selection, group: str, *, dry_run: bool = False
    ) -> None:
        self.report = Report()
        self.run_id = wall_us()
        #: Letters between the group's position and the ends at the start.
        self.found = 0
        self._settings = settings
        self._plan = plan
        self._selection = selection
        self._group = group
        self._dry_run = dry_run
        self._schemas = schemas.load()

    async def run(self) -> None:
        """Redrive the selected letters; with ``dry_run`` only find out what would become of them.

        Raises KafkaUnreachable, TopicConfigurationError, and what the registry's client raises.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            decoder = await stack.enter_async_context(open_deserializer(settings))
            consumer = await stack.enter_async_context(open_consumer(settings, "redrive", group=self._group))
            letters = Letters(settings, consumer, self._group)
            await letters.prepare()
            self.found = letters.left
            counts = self._partition_counts(consumer)
            reprocessing = Reprocessing(
                self._schemas,
                decoder,
                wanted=self._wanted(counts),
                prefixes=None if self._dry_run else await self._prefixes(),
                is_full=settings.is_full,
            )
            publisher = None if self._dry_run else await self._open_publisher(stack, counts)
            await self._redrive(letters, decoder, reprocessing, publisher)

    async def _redrive(
        self, letters: Letters, decoder: Deserializer, reprocessing: Reprocessing, publisher: RecordPublisher | None
    ) -> None:
        async for portion in letters.portions():
            looked_at: list[_Letter] = []
            position: dict[TopicPartition, int] = {}
            for partition, messages in portion.items():
                for message in messages:
                    if self._is_done(len(looked_at)):
                        break
                    if (letter := await self._letter(message, decoder, reprocessing)) is not None:
                        looked_at.append(letter)
                    position[partition] = message.offset + 1
            if publisher is not None:
                looked_at = await self._publish(publisher, looked_at)
                await letters.commit(position)
            for letter in looked_at:
                self._report(letter)
            if self._is_done():
                return

    def _is_done(self, more: int = 0) -> bool:
        limit = self._selection.max_letters
        return limit is not None and self.report.letters + more >= limit

    async def _letter(
        self, message: ConsumerRecord, decoder: Deserializer, reprocessing: Reprocessing
    ) -> _Letter | None:
        """Return a letter and what becomes of it, None if it is not selected."""
        since_us, reasons = self._selection.since_us, self._selection.reasons
        reason, symbol, outcome = UNDECODABLE, None, None
        try:
            letter = await self._decode(message, decoder)
        except Undecodable as error:
            outcome = Outcome(Result.FAILED, why=UNDECODABLE, text=str(error))
        else:
            reason, symbol = letter["reason"], letter["symbol"]
        if (since_us is not None and message.timestamp < since_us // 1000) or (reasons and reason not in reasons):
            self.report.passed_over += 1
            return None
        return _Letter(message, reason, symbol, outcome or await reprocessing.outcome(letter))

    async def _decode(self, message: ConsumerRecord, decoder: Deserializer) -> Mapping[str, Any]:
        name, letter = await decoder.decode(message.value)
        if name != self._schemas[Topic.DLQ].name:
            raise Undecodable(f"the value is a {name}, not a {self._schemas[Topic.DLQ].name}")
        return letter

    async def _publish(self, publisher: RecordPublisher, letters: list[_Letter]) -> list[_Letter]:
        """Publish the records of letters; return the letters, those whose record Kafka rejects as failed."""
        run: tuple[str, bytes | None] = (RUN_HEADER, str(self.run_id).encode())
        records = [
            Marked(record, [run, (DEAD_LETTER_HEADER, letter.position.encode())], number)
            for number, letter in enumerate(letters)
            for record in letter.outcome.records
        ]
        rejected = {one.marked.letter: one.why for one in await publisher.publish(records)}
        return [
            letter._replace(outcome=Outcome(Result.FAILED, why=RECORD_REJECTED, text=rejected[number]))
            if number in rejected
            else letter
            for number, letter in enumerate(letters)
        ]

    def _report(self, letter: _Letter) -> None:
        topics = [self._settings.topics[record.topic] for record in letter.outcome.records]
        self.report.add(letter.place, letter.reason, letter.symbol, letter.outcome, topics)

    # -- where to ------------------------------------------------------------------------------------------------

    def _wanted(self, counts: Mapping[Topic, int]) -> Mapping[str, frozenset[Topic]]:
        """Return the topics of each symbol; a symbol that is not there gets what any of them gets."""
        return {"": frozenset(counts)} if self._plan is None else wanted_topics(self._plan)

    def _partition_counts(self, consumer: AIOKafkaConsumer) -> dict[Topic, int]:
        """Return the partition counts of the data topics: those of the plan, or all that exist."""
        names = self._settings.topics
        counts = {topic: len(consumer.partitions_for_topic(names[topic]) or ()) for topic in SUBSCRIBABLE}
        needed = () if self._plan is None else topics_for(self._plan.events)
        if missing := [names[topic] for topic in SUBSCRIBABLE if topic in needed and not counts[topic]]:
            raise TopicConfigurationError(
                f"Kafka has no topic {', '.join(missing)} (or this user may not describe it), which the subscriptions "
                "need: create it with `aries-bridge topics`."
            )
        counts = {topic: count for topic, count in counts.items() if count}
        check_equal_partition_counts(names, counts)
        return counts

    async def _prefixes(self) -> Mapping[Topic, bytes] | None:
        """Return the prefixes with the registry's ids, None without a registry."""
        settings = self._settings
        if settings.schema_registry_url is None:
            return None
        async with Registry.of(settings, settings.schema_registry_url) as registry:
            return await registry.prefixes(
                settings.topics, self._schemas, auto_register=settings.schema_registry_auto_register
            )

    async def _open_publisher(self, stack: AsyncExitStack, counts: Mapping[Topic, int]) -> RecordPublisher:
        settings = self._settings
        options = client_options(settings, "redrive")
        producer = await AiokafkaProducer.start(options, settings.topics.values(), START_TIMEOUT_SECONDS)
        stack.push_async_callback(producer.abandon)  # whatever is in flight then has not been committed
        return RecordPublisher(
            producer,
            settings.topics,
            counts,
            batch_maker(settings.kafka_compression, settings.kafka_batch_bytes),
            settings.kafka_delivery_timeout_seconds,
        )


class _Letter(NamedTuple):
    """A dead letter as Kafka has it, and what becomes of it."""

    message: ConsumerRecord
    reason: str
    symbol: str | None
    outcome: Outcome

    @property
    def position(self) -> str:
        """Return its partition and offset."""
        return f"{self.message.partition}/{self.message.offset}"

    @property
    def place(self) -> str:
        """Return where it is, as a text."""
        return f"{self.message.topic} partition {self.message.partition} offset {self.message.offset}"
