"""Topics that Kafka does not accept records of: their records wait, other topics are not affected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog

from bridge import log_events
from bridge.backoff import Backoff

log = structlog.get_logger(__name__)

#: How long a blocked topic is left alone.
BACKOFF_MIN_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 30.0


@dataclass(slots=True)
class _BlockedTopic:
    backoff: Backoff = field(default_factory=lambda: Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS))
    not_before: float = 0.0
    #: Why it is blocked, as it was logged last, and whether a broker said so: that needs no other reason.
    reason: str = ""
    is_told_by_broker: bool = False


class TopicBackoff:
    """The blocked topics by name, and when each may be tried again (monotonic seconds)."""

    def __init__(self) -> None:
        self._topics: dict[str, _BlockedTopic] = {}

    def __bool__(self) -> bool:
        return bool(self._topics)

    def block(self, name: str, reason: str) -> None:
        """Note that a topic cannot be written; it is logged, and again if metadata tell another reason."""
        topic = self._topics.setdefault(name, _BlockedTopic())
        if topic.reason != reason and not topic.is_told_by_broker:
            topic.reason = reason
            log.warning(log_events.TOPIC_BLOCKED, topic=name, reason=reason)

    def hold(self, name: str, reason: str, now: float, *, quiet_times: int = 0) -> None:
        """Leave a topic alone for a while, longer each time; the first ``quiet_times`` do not log the reason."""
        topic = self._topics.setdefault(name, _BlockedTopic())
        topic.not_before = now + topic.backoff.next_seconds()
        if topic.backoff.attempts > quiet_times:
            self.blame(name, reason)

    def blame(self, name: str, reason: str) -> None:
        """Note that a broker refuses a topic's records; its reason is logged unless one was."""
        topic = self._topics.setdefault(name, _BlockedTopic())
        if not topic.reason:
            self.block(name, reason)
            topic.is_told_by_broker = True

    def is_blocked(self, name: str) -> bool:
        """Return whether a topic cannot be written as far as is known, held at the moment or not."""
        return name in self._topics

    def is_held(self, name: str, now: float) -> bool:
        """Return whether a topic is still left alone."""
        return name in self._topics and self._topics[name].not_before > now

    def unblock(self, name: str) -> None:
        """Note that Kafka has taken records for a topic."""
        topic = self._topics.pop(name, None)
        if topic is not None and topic.reason:
            log.info(log_events.TOPIC_RECOVERED, topic=name)
