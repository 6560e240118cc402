"""Waiting at start until the bridges of another number of shards have ended, as the control topic shows.

With another ``BRIDGE_SHARDS`` a symbol may belong to another shard. If both published it, its order would break.
``SESSION_COMPLETED`` is acknowledged after everything else of a bridge, so what comes after it is behind its records.
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
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bridge.serialization.deserializer import Deserializer

log = structlog.get_logger(__name__)

#: After so long without a control record a bridge is taken for dead: it was killed, and announced no end.
SILENCE_SECONDS: Final = 3 * HEARTBEAT_SECONDS
#: How far back records are looked at; more than the above, as the clocks of two nodes differ.
LOOK_BACK_SECONDS: Final = 60
#: How many are looked at where the broker has no index of times.
LOOK_BACK_RECORDS: Final = 1000
POLL_SECONDS: Final = 0.5


class HandoverSettings(ReadingSettings, Protocol):
    """The settings that name this bridge and those that share its symbols."""

    @property
    def topics(self) -> Mapping[Topic, str]: ...
    @property
    def bridge_group(self) -> str | None: ...
    @property
    def bridge_instance(self) -> str: ...
    @property
    def bridge_shards(self) -> int: ...


class OtherShards:
    """The bridges of a group with another number of shards, by what they announce."""

    def __init__(self, group: str, shards: int) -> None:
        self._group = group
        self._shards = shards
        self._heard_at: dict[str, float] = {}

    def note(self, record: Mapping[str, Any], now: float) -> None:
        """Take a control record that was read at a monotonic time."""
        if record.get("group") != self._group or record.get("shards") == self._shards:
            return
        if record["kind"] == ControlKind.SESSION_COMPLETED:
            self._heard_at.pop(record["instance"], None)
        else:
            self._heard_at[record["instance"]] = now

    def alive(self, now: float) -> list[str]:
        """Return the names of those that have not ended."""
        return sorted(name for name, heard_at in self._heard_at.items() if now - heard_at < SILENCE_SECONDS)


async def await_other_shards(
    settings: HandoverSettings, on_alive: Callable[[Sequence[str]], None] = lambda _: None
) -> None:
    """Wait until no bridge of this one's group has another number of shards, however long it takes.

    ``on_alive`` is called with the names of those that are waited for. If this user may not read the control topic,
    log that and do not wait.
    """
    if settings.bridge_group is None:
        return None
    # A bridge without other shards starts faster without it.
    from bridge.serialization.decoding import open_deserializer  # noqa: PLC0415 - see above

    others = OtherShards(settings.bridge_group, settings.bridge_shards)
    backoff = Backoff(0.5, 15.0)
    while True:
        try:
            async with (
                open_deserializer(settings) as decoder,
                open_consumer(settings, settings.bridge_instance) as consumer,
                readable_errors(client_options(settings, settings.bridge_instance)),
            ):
                return await _Watch(settings, consumer, decoder, others, on_alive).until_ended()
        except TopicConfigurationError as error:
            log.warning(log_events.OTHER_SHARDS_UNKNOWN, reason=str(error))
            return None
        except (KafkaUnreachable, RegistryUnreachable) as error:
            delay = backoff.next_seconds()
            log.warning(log_events.KAFKA_UNAVAILABLE, reason=str(error), retry_seconds=round(delay, 2))
            await asyncio.sleep(delay)


class _Watch:
    """The control topic, read from a minute ago."""

    def __init__(
        self,
        settings: HandoverSettings,
        consumer: AIOKafkaConsumer,
        decoder: Deserializer,
        others: OtherShards,
        on_alive: Callable[[Sequence[str]], None],
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._decoder = decoder
        self._others = others
        self._on_alive = on_alive
        self._logged: list[str] = []
        self._is_undecodable_logged = False

    async def until_ended(self) -> None:
        """Return once what is there has been read and no other bridge is alive."""
        from_ms = (time.time_ns() // 1_000_000) - LOOK_BACK_SECONDS * 1000
        ends = await self._seek(from_ms)
        while not await self._is_read(ends) or self._alive():
            for partition, messages in (await fetch(self._consumer, POLL_SECONDS)).items():
                for message in messages:
                    if message.timestamp >= from_ms or message.offset >= ends[partition]:
                        await self._note(message.value)
        if self._logged:
            log.info(log_events.OTHER_SHARDS_ENDED, instances=self._logged)

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
                log.warning(log_events.OTHER_SHARDS_UNKNOWN, reason=str(error))
            self._is_undecodable_logged = True
        else:
            self._others.note(record, time.monotonic())

    def _alive(self) -> list[str]:
        alive = self._others.alive(time.monotonic())
        self._on_alive(alive)
        if alive and alive != self._logged:
            log.warning(log_events.OTHER_SHARDS_ALIVE, instances=alive, shards=self._settings.bridge_shards)
            self._logged = alive
        return alive
