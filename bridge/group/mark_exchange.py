"""The marks between the shards topic and the locks: those of others are read without end, our own are written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from aiokafka.errors import KafkaError

from bridge import log_events
from bridge.backoff import Backoff
from bridge.clock import boot_seconds
from bridge.errors import BridgeError, KafkaUnreachable, SecretUnreadable, SettingsError
from bridge.group.marks import MarkKind
from bridge.group.marks_topic import MarkReader, MarkWriter
from bridge.kafka.client_options import KafkaSettings
from bridge.kafka.consumer import open_consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.group.marks import Mark
    from bridge.group.shard_locks import ShardLocks

log = structlog.get_logger(__name__)

#: The longest wait for marks, and while a shard is about to become ours, so that the log is read to its end in time.
POLL_SECONDS: Final = 0.5
CLAIMING_POLL_SECONDS: Final = 0.02


class MarkSettings(KafkaSettings, Protocol):
    """The settings of the shards topic, and how to connect to Kafka."""

    @property
    def bridge_instance(self) -> str: ...
    @property
    def bridge_shards(self) -> int: ...
    @property
    def shards_topic(self) -> str: ...


class MarkExchange:
    """The reader and the writer of a process's marks."""

    def __init__(
        self,
        settings: MarkSettings,
        locks: ShardLocks,
        options: Callable[[], Mapping[str, object]],
        *,
        process: str,
        wake: asyncio.Event,
        on_release: Callable[[], None],
    ) -> None:
        """``wake`` is set when the locks may have something to decide; ``options`` reads secrets again.

        ``on_release`` is called when another process has released a shard.
        """
        #: Why marks cannot be read or written; empty if they can.
        self.problem = ""
        #: Set once the log has been read to its end.
        self.caught_up = asyncio.Event()
        self._settings = settings
        self._locks = locks
        self._process = process
        self._wake = wake
        self._on_release = on_release
        self._writer = MarkWriter(settings.shards_topic, options)
        self._writing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Cancel what is being written, and close the connections."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._writer.close()

    # -- reading ------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read marks without end, and to the ends of the log whenever something waits for that."""
        backoff = Backoff(0.1, 5.0)
        name = self._settings.bridge_instance
        while True:
            try:
                async with (
                    open_consumer(self._settings, name) as consumer,
                    open_consumer(self._settings, name) as asking,
                ):
                    reader = MarkReader(consumer, asking, self._settings.shards_topic, self._settings.bridge_shards)
                    await self._follow(reader, backoff)
            except (BridgeError, KafkaError, TimeoutError, OSError) as error:
                self._note_problem(str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next_seconds())

    async def _follow(self, reader: MarkReader, backoff: Backoff) -> None:
        while True:
            since = boot_seconds()
            ends = await reader.ends()
            self.problem = ""
            backoff.reset()
            while not await reader.has_read(ends):
                self._note(await reader.read(CLAIMING_POLL_SECONDS))
            self._locks.marks.caught_up(since, boot_seconds())
            self.caught_up.set()
            self._wake.set()
            while not self._locks.needs_reading:
                self._note(await reader.read(CLAIMING_POLL_SECONDS if self._locks.is_changing else POLL_SECONDS))

    def _note(self, marks: Iterable[Mark]) -> None:
        now = boot_seconds()
        for mark in marks:
            self._locks.note(mark, now)
            if mark.kind is MarkKind.RELEASE and mark.process != self._process:
                self._on_release()
        self._wake.set()

    # -- writing ------------------------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        """Return whether a mark is on its way."""
        return bool(self._writing)

    def write(self, mark: Mark) -> None:
        """Write a mark, and tell the locks whether that succeeded."""
        task = asyncio.create_task(self._write_and_note(mark, boot_seconds()), name=f"group {mark.kind}")
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        self._wake.set()

    async def _write_and_note(self, mark: Mark, sent_at: float) -> None:
        try:
            await self._writer.write(mark)
        except (KafkaUnreachable, SettingsError, SecretUnreadable) as error:
            self._locks.failed(mark, boot_seconds())
            self._note_problem(str(error))
        else:
            self._locks.written(mark, sent_at, boot_seconds())
            self.problem = ""

    def _note_problem(self, reason: str) -> None:
        if not self.problem:
            log.warning(log_events.MARKS_UNAVAILABLE, reason=reason)
        self.problem = reason
