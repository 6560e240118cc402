"""How delivery to Kafka stands: whether brokers answer, whether they acknowledge, since when, and what was logged."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from bridge import log_events
from bridge.clock import wall_us

log = structlog.get_logger(__name__)

#: A leader election takes some seconds; no acknowledgement for longer is an outage.
ACK_OVERDUE_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Since:
    """When a state began: wall clock for people, monotonic for its duration; and whether its opposite ever held."""

    us: int = field(default_factory=wall_us)
    started: float = field(default_factory=time.monotonic)
    is_loss: bool = False

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)


@dataclass(slots=True)
class DeliveryState:
    """How delivery to Kafka stands, for health checks, metrics and the status; each change is logged once."""

    #: Whether a broker answered the last request of any kind.
    connected: bool = False
    #: Whether Kafka's last answer to a batch was its acknowledgement.
    acking: bool = False
    #: When the publisher last sent, was answered, or tried to reach Kafka (monotonic seconds).
    active_at: float = 0.0
    #: When a broker last answered, 0 if that is in doubt (monotonic seconds).
    heard_at: float = 0.0
    rebuilds: int = 0
    last_error: str | None = None
    #: Names of topics that are waited for at the start.
    missing_topics: tuple[str, ...] = ()
    #: Since when Kafka acknowledges all that it is sent, or does not (µs since 1970).
    acking_since_us: int = field(default_factory=wall_us)
    _delivers: bool = False
    _is_out: bool = True
    _connection: _Since = field(default_factory=_Since)
    _outage: _Since = field(default_factory=_Since)

    @property
    def connected_since_us(self) -> int:
        """Return since when ``connected`` is as it is (µs since 1970)."""
        return self._connection.us

    def note_activity(self) -> float:
        """Note that something happened now, and return the time (monotonic seconds)."""
        # uvloop's loop.time() has a resolution of 1 ms, as long as many an acknowledgement takes.
        self.active_at = time.monotonic()
        return self.active_at

    def note_answer(self) -> None:
        """Note that a broker has answered."""
        self.heard_at = time.monotonic()
        if self.connected:
            return
        self.connected = True
        self.last_error = None
        if self._connection.is_loss:
            log.info(log_events.KAFKA_RECONNECTED, seconds=self._connection.seconds)
        self._connection = _Since()

    def note_silence(self, reason: str) -> None:
        """Note that no broker answers."""
        self.heard_at = 0.0
        self.last_error = reason
        if self.connected:
            self.connected = False
            self._connection = _Since(is_loss=True)
            log.warning(log_events.KAFKA_CONNECTION_LOST, reason=reason)

    def note_delivery(self, outage: str | None, *, is_blocked: bool) -> None:
        """Note why nothing is acknowledged, or whether single topics are blocked, which is logged elsewhere."""
        delivers = outage is None and not is_blocked
        if delivers is not self._delivers:
            self._delivers, self.acking_since_us = delivers, wall_us()
        if self._is_out is (outage is not None):
            return
        self._is_out = outage is not None
        if outage is not None:
            self._outage = _Since(is_loss=True)
            log.warning(log_events.ACKNOWLEDGEMENTS_MISSING, reason=outage)
        elif self._outage.is_loss:
            log.info(log_events.ACKNOWLEDGEMENTS_RESUMED, seconds=self._outage.seconds)
