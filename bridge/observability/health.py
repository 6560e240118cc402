"""What an orchestrator asks: is the process alive, and is it ready.

Alive is false only where nothing but a restart helps; that Aries or Kafka are away is no such case, as the bridge
waits for both and keeps what it has read. Their outages show in readiness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.app import Bridge

#: The publisher sends, hears from Kafka, replaces its producer after one delivery timeout, or tries to reach
#: Kafka at least once a minute. Standing still for twice that while records wait, it is stuck.
STUCK_AFTER_DELIVERY_TIMEOUTS: Final = 2
STUCK_AFTER_SECONDS_MORE: Final = 60.0
#: A leader election takes some seconds; no acknowledgement for longer is an outage.
ACK_OVERDUE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """Say whether one thing is as it should be, and how it is, for people."""

    name: str
    ok: bool
    detail: str


def liveness(bridge: Bridge, now: float) -> tuple[Check, ...]:
    """Return what has to hold for the process to be worth keeping; who can call this has a loop that turns."""
    return Check("event_loop", ok=True, detail="turns"), _publisher(bridge, now)


def readiness(bridge: Bridge, now: float) -> tuple[Check, ...]:
    """Return what has to hold for data to flow: authenticated, subscribed, and Kafka acknowledging."""
    return _authenticated(bridge), _subscribed(bridge), _kafka(bridge, now)


def _publisher(bridge: Bridge, now: float) -> Check:
    if bridge.buffer.empty:
        return Check("publisher", ok=True, detail="nothing to do")
    still_seconds = now - bridge.publisher.state.active_at
    limit = STUCK_AFTER_DELIVERY_TIMEOUTS * bridge.settings.kafka_delivery_timeout_seconds + STUCK_AFTER_SECONDS_MORE
    if still_seconds <= limit:
        return Check("publisher", ok=True, detail="moves")
    return Check("publisher", ok=False, detail=f"did nothing for {still_seconds:.0f} s while records wait: it is stuck")


def _authenticated(bridge: Bridge) -> Check:
    session = bridge.client.session
    if session is not None and session.authenticated:
        return Check("authenticated", ok=True, detail="session is live")
    return Check("authenticated", ok=False, detail=_why_no_session(bridge))


def _why_no_session(bridge: Bridge) -> str:
    if bridge.phase != "running":
        return bridge.phase
    lost = bridge.client.last_loss
    return f"{bridge.client.state}; last lost by {lost.cause}: {lost}" if lost is not None else bridge.client.state


def _subscribed(bridge: Bridge) -> Check:
    session = bridge.client.session
    if session is None or bridge.client.state != "streaming":
        return Check("subscribed", ok=False, detail="not yet")
    refused = f", {len(session.rejected_symbols)} refused" if session.rejected_symbols else ""
    # A shard may have no symbol at all; that every symbol was refused is another matter.
    some = session.subscribed_symbols > 0 or not bridge.plan
    return Check("subscribed", ok=some, detail=f"{session.subscribed_symbols} symbols{refused}")


def _kafka(bridge: Bridge, now: float) -> Check:
    trouble = _kafka_trouble(bridge, now)
    return Check("kafka", ok=trouble is None, detail=trouble or "acknowledges")


def _kafka_trouble(bridge: Bridge, now: float) -> str | None:
    publisher = bridge.publisher
    if not publisher.state.connected:
        return f"not connected: {publisher.state.last_error or 'not reached yet'}"
    if not publisher.state.acking:
        return f"connected, nothing acknowledged yet; before: {publisher.state.last_error or 'nothing was sent'}"
    oldest = bridge.buffer.oldest_in_flight()
    if oldest is not None and now - oldest > ACK_OVERDUE_SECONDS:
        return f"no acknowledgement for {now - oldest:.0f} s"
    if shut := publisher.blocked_topics():
        return f"cannot be written just now: {', '.join(sorted(shut))}"
    return None
