"""Liveness and readiness.

Liveness is false only if nothing but a restart helps. An outage of Aries or Kafka is no such case, as the bridge
reconnects to both and keeps what it has read; it shows in readiness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.observability.view import BridgeView

#: A publisher with work sends, gets an answer, replaces its producer after one delivery timeout, or tries to connect
#: at least once a minute. One that does none of it for twice as long is stuck.
STUCK_AFTER_DELIVERY_TIMEOUTS: Final = 2
STUCK_AFTER_EXTRA_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    detail: str


def liveness(bridge: BridgeView, now: float) -> tuple[Check, ...]:
    """Return the checks that fail if the process must be restarted; that this runs shows that the loop does."""
    return Check("event_loop", ok=True, detail="running"), _publisher(bridge, now)


def readiness(bridge: BridgeView, now: float) -> tuple[Check, ...]:
    """Return the checks that fail if data cannot flow: authenticated, subscribed, and Kafka acknowledging."""
    return _authenticated(bridge), _subscribed(bridge), _kafka(bridge, now)


def _publisher(bridge: BridgeView, now: float) -> Check:
    if bridge.buffer.empty:
        return Check("publisher", ok=True, detail="idle")
    idle_seconds = now - bridge.publisher.state.active_at
    limit = STUCK_AFTER_DELIVERY_TIMEOUTS * bridge.settings.kafka_delivery_timeout_seconds + STUCK_AFTER_EXTRA_SECONDS
    if idle_seconds <= limit:
        return Check("publisher", ok=True, detail="active")
    return Check("publisher", ok=False, detail=f"stuck: no activity for {idle_seconds:.0f} s while records wait")


def _authenticated(bridge: BridgeView) -> Check:
    session = bridge.client.session
    if session is not None and session.authenticated:
        return Check("authenticated", ok=True, detail="session authenticated")
    return Check("authenticated", ok=False, detail=_why_no_session(bridge))


def _why_no_session(bridge: BridgeView) -> str:
    if bridge.phase != "running":
        return bridge.phase
    lost = bridge.client.last_loss
    return f"{bridge.client.state}; last disconnect: {lost.cause}: {lost}" if lost is not None else bridge.client.state


def _subscribed(bridge: BridgeView) -> Check:
    session = bridge.client.session
    if session is None or bridge.client.state != "streaming":
        return Check("subscribed", ok=False, detail="not yet")
    rejected = f", {len(session.rejected_symbols)} rejected" if session.rejected_symbols else ""
    # A shard without any symbol is in order; a session in which every symbol was rejected is not.
    ok = session.subscribed_symbols > 0 or not bridge.plan
    return Check("subscribed", ok=ok, detail=f"{session.subscribed_symbols} symbols{rejected}")


def _kafka(bridge: BridgeView, now: float) -> Check:
    problem = bridge.publisher.problem(now)
    return Check("kafka", ok=problem is None, detail=problem or "acknowledging")
