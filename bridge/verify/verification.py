"""One run of the command: read, judge, and follow new records if asked to."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from bridge.clock import wall_us
from bridge.errors import KafkaUnreachable
from bridge.kafka.client_options import CapturedKafkaLog
from bridge.kafka.consumer import open_consumer
from bridge.serialization.decoding import open_deserializer
from bridge.verify.report import Report, report
from bridge.verify.topic_reader import PARTITION_FETCH_BYTES, TopicReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bridge.settings import Settings
    from bridge.verify.checker import Checker
    from bridge.verify.topic_reader import Selection
    from bridge.verify.violations import Violation

#: How long ``follow`` waits before it looks for more.
FOLLOW_SECONDS: Final = 1.0


class Verification:
    """A run of the command; its result is kept if it is interrupted."""

    def __init__(
        self,
        settings: Settings,
        selection: Selection,
        *,
        follow: bool = False,
        on_violation: Callable[[Violation], None] = lambda _: None,
        on_kafka_error: Callable[[str], None] = lambda _: None,
        on_caught_up: Callable[[Report], None] = lambda _: None,
        progress: Callable[[TopicReader], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.checker: Checker | None = None
        self._settings = settings
        self._selection = selection
        self._follow = follow
        self._on_violation = on_violation
        self._on_kafka_error = on_kafka_error
        self._on_caught_up = on_caught_up
        self._progress = progress
        self._is_reading = True

    async def run(self) -> None:
        """Check what the topics hold, and with ``follow`` new records, until cancelled."""
        async with (
            open_deserializer(self._settings) as decoder,
            open_consumer(self._settings, "verify", partition_fetch_bytes=PARTITION_FETCH_BYTES) as consumer,
        ):
            reader = TopicReader(self._settings, self._selection, consumer, decoder)
            with CapturedKafkaLog(self._on_kafka_error):
                await reader.prepare()
                with self._progress(reader):
                    await self._round(reader)
                self._on_caught_up(report(reader.checker))
                while self._follow:
                    await asyncio.sleep(FOLLOW_SECONDS)
                    try:
                        await self._round(reader)
                    except KafkaUnreachable as error:
                        self._on_kafka_error(str(error))

    def close(self) -> Report | None:
        """Judge what still waits for an explanation; return the report, or None if the first round was not done."""
        if self.checker is None:
            return None
        if self._follow and not self._is_reading:  # within a round the explanations are read in part only
            self._settle(self.checker, wall_us(), final=True)
        return report(self.checker)

    async def _round(self, reader: TopicReader) -> None:
        began_us = wall_us()
        self._is_reading = True
        await reader.round()
        self._is_reading = False
        self.checker = reader.checker
        self._settle(reader.checker, began_us, final=not self._follow)

    def _settle(self, checker: Checker, now_us: int, *, final: bool) -> None:
        checker.settle(now_us, final=final)
        for violation in checker.violations.take_new():
            self._on_violation(violation)
