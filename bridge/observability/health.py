"""Liveness and readiness.

Liveness is false only if nothing but a restart helps. An outage of Aries or Kafka is no such case, as the bridge
reconnects to both and keeps what it has read; it shows in readiness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.observability.view import BridgeView, OwnershipView

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
    """Return the checks that fail if data cannot flow: authenticated, subscribed, and Kafka acknowledging.

    If there are option chains, each must have been resolved once. In a group a process without a shard is ready as a
    standby, if it could begin at once; it has no session. The last check is that of Kafka.
    """
    if bridge.group is not None:
        return _readiness_in_group(bridge, bridge.group.ownership, now)
    return _readiness_of_publisher(bridge, now)


def _readiness_of_publisher(bridge: BridgeView, now: float) -> tuple[Check, ...]:
    return _authenticated(bridge), _subscribed(bridge), *_chains(bridge), _kafka(bridge, now)


def _readiness_in_group(bridge: BridgeView, group: OwnershipView, now: float) -> tuple[Check, ...]:
    if bridge.phase != "running":
        return Check("group", ok=False, detail=bridge.phase), _kafka(bridge, now)
    match group.role:
        case "owner":
            return _owner(group), *_readiness_of_publisher(bridge, now)
        case "standby":
            return _standby(bridge, group), *_chains(bridge), _kafka_of_standby(bridge, now)
        case _:
            return Check("group", ok=False, detail=f"joining {group.id}: {group.problem}"), _kafka(bridge, now)


def _owner(group: OwnershipView) -> Check:
    if group.is_suspended:
        why = f": {group.problem}" if group.problem else ""
        return Check("group", ok=False, detail=f"leases ended, publishing is suspended{why}")
    owned = ", ".join(str(one.shard) for one in group.shards() if one.is_owned)
    return Check("group", ok=True, detail=f"owner of shards {owned}{f'; {group.problem}' if group.problem else ''}")


def _standby(bridge: BridgeView, group: OwnershipView) -> Check:
    """Return whether a standby could begin: it is a member, and can read and write the topic of the shards.

    It is also ready while it waits for bridges that are not of the group: a rolling update ends these only then. One
    that has just owned a shard and could not reach Aries is not: the update would end, one by one, those that can.
    """
    if group.problem:
        return Check("standby", ok=False, detail=f"standby that cannot take over: {group.problem}")
    if not group.is_fit:
        lost = bridge.client.last_loss
        reason = "" if lost is None else f": {lost.cause}: {lost}"
        return Check("standby", ok=False, detail=f"standby that could not reach Aries{reason}")
    owners = sorted({one.owner for one in group.shards() if one.owner is not None})
    waits = f"; waits for the end of {', '.join(bridge.waiting_for)}" if bridge.waiting_for else ""
    return Check("standby", ok=True, detail=f"standby; owners: {', '.join(owners) or 'none'}{waits}")


def _kafka_of_standby(bridge: BridgeView, now: float) -> Check:
    """Return whether Kafka is connected: a standby has nothing that could be acknowledged."""
    state = bridge.publisher.state
    if bridge.buffer.empty and state.connected and not state.missing_topics:
        return Check("kafka", ok=True, detail="connected")
    return _kafka(bridge, now)


def _publisher(bridge: BridgeView, now: float) -> Check:
    if bridge.group is not None and bridge.group.ownership.is_suspended:
        return Check("publisher", ok=True, detail="suspended: leases ended")
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
    ok = session.subscribed_symbols > 0 or not bridge.plans.own
    return Check("subscribed", ok=ok, detail=f"{session.subscribed_symbols} symbols{rejected}")


def _chains(bridge: BridgeView) -> tuple[Check, ...]:
    statuses = bridge.plans.chains.statuses()
    if not statuses:
        return ()
    missing = [status for status in statuses if not status.is_resolved]
    if not missing:
        return (Check("chains", ok=True, detail=f"{sum(status.contracts for status in statuses)} contracts"),)
    reasons = "; ".join(f"{status.underlying}: {status.problem or 'not resolved yet'}" for status in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""  # noqa: PLR2004 - as many as are listed
    return (Check("chains", ok=False, detail=f"{reasons}{more}"),)


def _kafka(bridge: BridgeView, now: float) -> Check:
    problem = bridge.publisher.problem(now)
    return Check("kafka", ok=problem is None, detail=problem or "acknowledging")
