"""Waiting for topics that do not exist yet: at the start nothing is read that could not be published."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

import structlog

from bridge import log_events

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.kafka.delivery_state import DeliveryState
    from bridge.kafka.producer import Producer

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 0.5
#: How long topics may be hidden: a broker learns of a right a moment after it was granted.
HIDDEN_SECONDS: Final = 5.0
#: How often the same topics are named again in the log.
REMINDER_SECONDS: Final = 60.0
HINT: Final = (
    "topics are never created implicitly: create them with `aries-bridge topics`, or rename them with "
    "KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>"
)


async def wait_for_topics(producer: Producer, names: Collection[str], state: DeliveryState) -> bool:
    """Wait until topics exist, or one may not be described; return False if brokers stop answering meanwhile."""
    logged: list[str] = []
    remind_at = -math.inf
    hidden_until = math.inf
    try:
        while missing := [name for name in names if not producer.partitions(name)]:
            now = time.monotonic()
            is_hidden = not all(producer.may_describe(name) for name in missing)
            hidden_until = min(hidden_until, now + HIDDEN_SECONDS) if is_hidden else math.inf
            if now >= hidden_until:
                break
            state.missing_topics = tuple(missing)
            if not is_hidden and (missing != logged or now >= remind_at):
                logged, remind_at = missing, now + REMINDER_SECONDS
                log.warning(log_events.TOPICS_MISSING, topics=missing, hint=HINT)
            producer.refresh_metadata()
            await asyncio.sleep(CHECK_SECONDS)
            if silence := await producer.why_silent():
                state.note_silence(silence)
                return False
            state.note_answer()
    finally:
        state.missing_topics = ()
    return True
