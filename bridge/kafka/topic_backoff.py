"""Topics that Kafka does not let us write just now: their records wait, and everything else goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog

from bridge.backoff import Backoff
from bridge.observability import log_events

log = structlog.get_logger(__name__)

#: How long a topic that refuses us is left alone.
BACKOFF_MIN_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Refusal:
    backoff: Backoff = field(default_factory=lambda: Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS))
    not_before: float = 0.0


class TopicBackoff:
    """Remember the topics that are refused, by name, and when each may be tried again (monotonic seconds)."""

    def __init__(self) -> None:
        self._topics: dict[str, _Refusal] = {}

    def __bool__(self) -> bool:
        return bool(self._topics)

    def note(self, name: str, reason: str) -> None:
        """Note that a topic cannot be written; said once until it can be again."""
        if name not in self._topics:
            self._topics[name] = _Refusal()
            log.warning(log_events.TOPIC_BLOCKED, topic=name, reason=reason)

    def put_off(self, name: str, reason: str, now: float) -> int:
        """Leave a topic alone for a while, longer each time; return how many times in a row that was."""
        self.note(name, reason)
        refusal = self._topics[name]
        refusal.not_before = now + refusal.backoff.next_seconds()
        return refusal.backoff.attempts

    def holds(self, name: str, now: float) -> bool:
        """Return whether a topic is to be left alone still."""
        return name in self._topics and self._topics[name].not_before > now

    def lift(self, name: str) -> None:
        """Note that Kafka has taken something for a topic."""
        if self._topics.pop(name, None) is not None:
            log.info(log_events.TOPIC_RECOVERED, topic=name)
