"""Waiting until other bridges of the same symbols have ended, as the control topic shows.

With another ``BRIDGE_SHARDS`` a symbol may belong to another shard, and in group mode (``BRIDGE_SHARD=group``) to any
process of the group. If two bridges published it, its order would break. ``SESSION_COMPLETED`` is acknowledged after
everything else of a bridge, so what comes after it is behind its records.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from bridge import log_events
from bridge.backoff import Backoff
from bridge.errors import KafkaUnreachable, RegistryUnreachable, TopicConfigurationError, Undecodable
from bridge.kafka.client_options import client_options, readable_errors
from bridge.kafka.consumer import ReadingSettings, assign_topics, fetch, open_consumer
from bridge.pipeline.control_events import HEARTBEAT_SECONDS, ControlKind
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bridge.serialization.deserializer import Deserializer

    OnAlive = Callable[[Sequence[str]], None]

log = structlog.get_logger(__name__)

#: After so long without a control record a bridge is taken for dead: it was killed, and announced no end.
SILENCE_SECONDS: Final = 3 * HEARTBEAT_SECONDS
#: How far back records are looked at; more than the above, as the clocks of two nodes differ.
LOOK_BACK_SECONDS: Final = 60
#: How many are looked at where the broker has no index of times.
LOOK_BACK_RECORDS: Final = 1000
POLL_SECONDS: Final = 0.5
#: The longest that Kafka takes to answer while it is there.
ANSWER_SECONDS: Final = 2.0


class HandoverSettings(ReadingSettings, Protocol):
    """The settings that name this bridge and those that share its symbols."""

    @property
    def topics(self) -> Mapping[Topic, str]: ...
    @property
    def kafka_topic_prefix(self) -> str: ...
    @property
    def bridge_group(self) -> str | None: ...
    @property
    def bridge_instance(self) -> str: ...
    @property
    def bridge_shards(self) -> int: ...


class OtherBridges(Protocol):
    """Bridges that must have ended first, by what they announce."""

    def note(self, record: Mapping[str, Any], now: float) -> None:
        """Take a control record that was read at a time (seconds)."""

    def alive(self, now: float) -> list[str]:
        """Return the names of those that have not ended."""


class OtherShards:
    """The bridges of a group with another number of shards."""

    def __init__(self, group: str, shards: int) -> None:
        self._group = group
        self._shards = shards
        self._heard_at: dict[str, float] = {}

    def note(self, record: Mapping[str, Any], now: float) -> None:
        """Take a control record that was read at a time (seconds)."""
        if record.get("group") != self._group or record.get("shards") == self._shards:
            return
        if record["kind"] == ControlKind.SESSION_COMPLETED:
            self._heard_at.pop(record["instance"], None)
        else:
            self._heard_at[record["instance"]] = now

    def alive(self, now: float) -> list[str]:
        """Return the names of those that have not ended."""
        return sorted(name for name, heard_at in self._heard_at.items() if now - heard_at < SILENCE_SECONDS)


class BridgesWithShards:
    """The bridges that have a shard of their own, among the records of a group's processes.

    Both have the group's name; the sessions of the latter are in the marks of its shards. Once one of these claims a
    shard, it has waited for the former, and who is started later waits for it.
    """

    def __init__(
        self,
        group: str,
        sessions: Callable[[], Collection[int]],
        others_claim: Callable[[], bool] = lambda: False,
        *,
        without_group: str,
    ) -> None:
        """``sessions`` returns those of the group, and ``others_claim`` whether another process of it claims shards.

        ``without_group`` is the name of the group of bridges that have none.
        """
        self._group = group
        self._sessions = sessions
        self._others_claim = others_claim
        self._without_group = without_group
        self._heard: dict[str, tuple[float, int]] = {}

    def note(self, record: Mapping[str, Any], now: float) -> None:
        """Take a control record that was read at a time (seconds)."""
        if (record.get("group") or self._without_group) != self._group:
            return
        if record["kind"] == ControlKind.SESSION_COMPLETED:
            self._heard.pop(record["instance"], None)
        elif record["session_id"] is not None:
            self._heard[record["instance"]] = now, record["session_id"]

    def alive(self, now: float) -> list[str]:
        """Return the names of those that have not ended."""
        if self._others_claim():
            return []
        of_group = self._sessions()
        return sorted(
            name
            for name, (heard_at, session_id) in self._heard.items()
            if now - heard_at < SILENCE_SECONDS and session_id not in of_group
        )


class Waiting:
    """The bridges that are waited for, shown always and logged when they are others than before."""

    def __init__(self, on_alive: OnAlive) -> None:
        self.backoff = Backoff(0.5, 15.0)
        self._on_alive = on_alive
        self._logged: Sequence[str] = ()

    async def until_over(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Run an attempt until it ends, again while Kafka is away; give up if this user may not see what it needs."""
        while True:
            try:
                return await attempt()
            except TopicConfigurationError as error:
                return self.give_up(error)
            except (KafkaUnreachable, RegistryUnreachable) as error:
                delay = self.backoff.next_seconds()
                log.warning(log_events.KAFKA_UNAVAILABLE, reason=str(error), retry_seconds=round(delay, 2))
                await asyncio.sleep(delay)

    def give_up(self, error: Exception) -> None:
        """Log why the bridges cannot be recognized, and show that none is waited for."""
        log.warning(log_events.OTHER_BRIDGES_UNKNOWN, reason=str(error))
        self._on_alive(())

    def goes_on(self, alive: Sequence[str]) -> bool:
        """Take the names of those that have not ended; return whether there are any."""
        self._on_alive(alive)
        if alive and alive != self._logged:
            log.warning(log_events.OTHER_BRIDGES_ALIVE, instances=alive)
            self._logged = alive
        if not alive and self._logged:
            log.info(log_events.OTHER_BRIDGES_ENDED, instances=self._logged)
        return bool(alive)


class ListeningTime:
    """The seconds for which Kafka was listened to: none is silent because Kafka is away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._seconds = 0.0

    def now(self) -> float:
        """Return them at a moment at which Kafka has just answered."""
        now = self._clock()
        self._seconds += min(now - self._answered_at, ANSWER_SECONDS)
        self._answered_at = now
        return self._seconds


async def await_other_shards(settings: HandoverSettings, on_alive: OnAlive = lambda _: None) -> None:
    """Wait until no bridge of this one's group has another number of shards, however long it takes.

    ``on_alive`` is called with the names of those that are waited for. If this user may not read the control topic,
    log that and do not wait.
    """
    if settings.bridge_group is not None:
        await _await_end(settings, OtherShards(settings.bridge_group, settings.bridge_shards), on_alive)


async def await_bridges_with_shards(
    settings: HandoverSettings,
    sessions: Callable[[], Collection[int]],
    others_claim: Callable[[], bool],
    on_alive: OnAlive = lambda _: None,
) -> None:
    """Wait until no bridge has a shard of its own beside this group, as ``await_other_shards`` does.

    ``sessions`` returns those of the processes of the group, and ``others_claim`` whether another one claims shards.
    """
    prefix = settings.kafka_topic_prefix
    others = BridgesWithShards(settings.bridge_group or prefix, sessions, others_claim, without_group=prefix)
    await _await_end(settings, others, on_alive)


async def _await_end(settings: HandoverSettings, others: OtherBridges, on_alive: OnAlive) -> None:
    # A bridge without other shards starts faster without it.
    from bridge.serialization.decoding import open_deserializer  # noqa: PLC0415 - see above

    waiting, listening = Waiting(on_alive), ListeningTime()

    async def attempt() -> None:
        async with (
            open_deserializer(settings) as decoder,
            open_consumer(settings, settings.bridge_instance) as consumer,
            readable_errors(client_options(settings, settings.bridge_instance)),
        ):
            await _Watch(settings, consumer, decoder, others, listening).until_ended(waiting)

    await waiting.until_over(attempt)


class _Watch:
    """The control topic, read from a minute ago."""

    def __init__(
        self,
        settings: HandoverSettings,
        consumer: AIOKafkaConsumer,
        decoder: Deserializer,
        others: OtherBridges,
        listening: ListeningTime,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._decoder = decoder
        self._others = others
        self._listening = listening
        self._is_undecodable_logged = False

    async def until_ended(self, waiting: Waiting) -> None:
        """Return once what is there has been read and no other bridge is alive."""
        from_ms = (time.time_ns() // 1_000_000) - LOOK_BACK_SECONDS * 1000
        first_ends = ends = await self._seek(from_ms)
        while not await self._is_read(ends) or waiting.goes_on(self._others.alive(self._listening.now())):
            for partition, messages in (await fetch(self._consumer, POLL_SECONDS)).items():
                for message in messages:
                    if message.timestamp >= from_ms or message.offset >= first_ends[partition]:
                        await self._note(message.value)
            ends = await self._consumer.end_offsets(list(first_ends))  # fails while Kafka does not answer

    async def _seek(self, from_ms: int) -> Mapping[TopicPartition, int]:
        """Go to the first record of the time; return the present ends."""
        partitions = await assign_topics(self._consumer, self._settings.topics, (Topic.CONTROL,))
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, from_ms))
        for partition, end in ends.items():
            at = found.get(partition)
            self._consumer.seek(partition, at.offset if at is not None else max(0, end - LOOK_BACK_RECORDS))
        return ends

    async def _is_read(self, ends: Mapping[TopicPartition, int]) -> bool:
        positions = [await self._consumer.position(partition) >= end for partition, end in ends.items()]
        return all(positions)

    async def _note(self, value: bytes | None) -> None:
        try:
            record = (await self._decoder.decode(value)).record
        except Undecodable as error:  # of another version of the bridge, as a rule: there are many, or none
            if not self._is_undecodable_logged:
                log.warning(log_events.OTHER_BRIDGES_UNKNOWN, reason=str(error))
            self._is_undecodable_logged = True
        else:
            self._others.note(record, self._listening.now())
