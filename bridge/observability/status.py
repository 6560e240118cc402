"""The status document: the state of a bridge as JSON, for the status page, scripts and people."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import bridge as package
from bridge.observability.health import liveness, readiness
from bridge.observability.latency import percentile
from bridge.observability.rate_history import HISTORY_SECONDS, LINES, RATE_SECONDS, acknowledged
from bridge.topics import SUBSCRIBABLE, Topic, topics_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.observability.connection_history import Disconnect, Gap
    from bridge.observability.health import Check
    from bridge.observability.rate_history import RateHistory
    from bridge.observability.view import BridgeView, ChainStatusView, HandoverView, OwnershipView, ShardStatusView

    Json = dict[str, Any]

#: How many rejected symbols are listed; all of them are counted.
MAX_LISTED_SYMBOLS: Final = 100


def status(bridge: BridgeView, history: RateHistory, now: float, now_us: int) -> Json:
    """Return the status document at a moment (monotonic seconds, and µs since the epoch).

    Times are ISO 8601 in UTC, durations in seconds; null means unknown or none. Raises ``RuntimeError`` without a
    running event loop.
    """
    settings = bridge.settings
    ready = readiness(bridge, now)
    alive = liveness(bridge, now)
    return {
        "version": package.__version__,
        "encoder": settings.encoder,
        "instance": settings.bridge_instance,
        "shard": settings.shard if bridge.group is None else None,
        "shards": settings.bridge_shards,
        "group": None if bridge.group is None else _group(bridge.group.ownership),
        "symbols": {"own": len(bridge.plans.own), "of_all_shards": len(bridge.plans.chains.resolved)},
        "waiting_for": list(bridge.waiting_for),
        "started_at": _iso_time(bridge.started_us),
        "now": _iso_time(now_us),
        "phase": bridge.phase,
        "state": bridge.client.state if bridge.phase == "running" else bridge.phase,
        "alive": all(check.ok for check in alive),
        "ready": all(check.ok for check in ready),
        "checks": check_results((*alive, *ready)),
        "aries": _aries(bridge),
        "token": _token(bridge),
        "kafka": _kafka(bridge, ready[-1]),
        "lines": {"per_second": round(history.rate(LINES), 1), "history": history.rates(LINES)},
        "topics": [_topic(bridge, history, topic, now, now_us) for topic in Topic],
        "stale_symbols": _stale_symbols(bridge),
        "chains": [_chain(one) for one in bridge.plans.chains.statuses()],
        "rate_seconds": RATE_SECONDS,
        "history_seconds": HISTORY_SECONDS,
        "buffer": _buffer(bridge),
        "accounts": _accounts(bridge),
        "gap_seconds": round(bridge.client.connection_history.gap_seconds(now_us), 3),
        "gaps": [_gap(gap, now_us) for gap in reversed(bridge.client.connection_history.gaps)],
        "losses": [_disconnect(disconnect) for disconnect in reversed(bridge.client.connection_history.disconnects)],
        "event_loop_lag_seconds": round(history.lag_seconds, 4),
        "tasks": len(asyncio.all_tasks()),
    }


def check_results(checks: Iterable[Check]) -> Json:
    """Return the results of checks by name."""
    return {check.name: {"ok": check.ok, "detail": check.detail} for check in checks}


def _iso_time(time_us: float | None) -> str | None:
    """Return a time in µs since the epoch as ISO 8601 in UTC, None if it is no time of a calendar."""
    if time_us is None:
        return None
    try:
        time = datetime.fromtimestamp(time_us / 1e6, UTC)
    except (ArithmeticError, ValueError, OSError):  # not finite, or beyond the year 9999: what others sent
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _group(group: OwnershipView) -> Json:
    """Return what this process knows of its group: its members, its shards with their owners, and its hand-overs."""
    return {
        "name": group.name,
        "id": group.id,
        "topic": group.topic,
        "role": group.role,
        "problem": group.problem or None,
        "members": [
            {
                "instance": member.instance,
                "fingerprint": member.fingerprint,
                "shards": member.shards,
                "assigned": list(member.assigned),
                "fit": member.fit,
            }
            for member in group.members
        ],
        "generation": group.generation,
        "shards": [_shard(one) for one in group.shards()],
        "handovers": [_handover(one) for one in reversed(tuple(group.handovers))],
        "plans_differ": bool(group.different_plans),
    }


def _shard(one: ShardStatusView) -> Json:
    return {
        "shard": one.shard,
        "owner": one.owner,
        "epoch": one.epoch,
        "session_id": one.session_id,
        "owned": one.is_owned,
        "state": one.state,
        "lease_seconds": None if one.lease_seconds is None else round(one.lease_seconds, 3),
    }


def _handover(one: HandoverView) -> Json:
    return {
        "at": _iso_time(one.time_us),
        "shard": one.shard,
        "event": one.event,
        "cause": one.cause,
        "other": one.other or None,
        "gap_seconds": None if one.gap_seconds is None else round(one.gap_seconds, 3),
    }


def _aries(bridge: BridgeView) -> Json:
    client, plans = bridge.client, bridge.plans
    url = urlsplit(bridge.settings.aries_ws_url)
    last = client.connection_history.disconnects[-1] if client.connection_history.disconnects else None
    return {
        "url": f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
        "dialect": bridge.settings.dialect,
        "connected": client.session is not None,
        "session": _session(bridge),
        "market": _market(client.session.keep_alive.market_open if client.session is not None else None),
        "symbols_wanted": len(plans.own),
        "plan": {"fingerprint": plans.own.fingerprint, "applied_at": _iso_time(plans.applied_us)},
        "pending_change": _pending_change(bridge),
        "last_loss": None if last is None else _disconnect(last),
        "reconnects": {str(cause): count for cause, count in sorted(client.reconnects.items())},
        "next_attempt_at": _iso_time(client.next_attempt_us),
    }


def _pending_change(bridge: BridgeView) -> Json | None:
    """Return the subscriptions that wait until they can be applied, and why."""
    change = bridge.plans.change
    if change.plan is None:
        return None
    return {"symbols": len(change.plan), "since": _iso_time(change.since_us), "problem": change.problem or None}


def _chain(one: ChainStatusView) -> Json:
    """Return what is known of the option chains of one underlying, all shards together."""
    return {
        "underlying": one.underlying,
        "contracts": one.contracts,
        "left_out": one.left_out,
        "resolved_at": None if one.resolved_at is None else _iso_time(one.resolved_at * 1e6),
        "problem": one.problem or None,
    }


def _session(bridge: BridgeView) -> Json | None:
    session = bridge.client.session
    if session is None or not session.authenticated:
        return None
    refused = sorted(session.rejected_symbols)
    return {
        "id": bridge.control.session_id,
        "since": _iso_time(bridge.control.session_id),
        "authenticated": True,
        "symbols": session.subscribed_symbols,
        "refused": refused[:MAX_LISTED_SYMBOLS],
        "refused_symbols": len(refused),
    }


def _market(is_open: bool | None) -> str:  # noqa: FBT001 - a state, not a switch
    return "unknown" if is_open is None else "open" if is_open else "closed"


def _token(bridge: BridgeView) -> Json:
    secret, expires_at = bridge.settings.aries_access_token, bridge.tokens.expires_at
    source = "refresh grant" if secret is None else "fixed" if secret.path is None else "file"
    return {"source": source, "expires_at": None if expires_at is None else _iso_time(expires_at * 1e6)}


def _kafka(bridge: BridgeView, check: Check) -> Json:
    publisher = bridge.publisher
    return {
        "servers": list(bridge.settings.kafka_bootstrap_servers),
        "connected": publisher.state.connected,
        "connected_since": _iso_time(publisher.state.connected_since_us),
        "acking": check.ok,
        "acking_since": _iso_time(publisher.state.acking_since_us),
        "missing_topics": list(publisher.state.missing_topics),
        "rebuilds": publisher.state.rebuilds,
        "last_error": publisher.state.last_error,
    }


def _topic(bridge: BridgeView, history: RateHistory, topic: Topic, now: float, now_us: int) -> Json:
    accounts = bridge.accounts
    last_us = bridge.ingest.last_data_us.get(topic)
    recent = bridge.latency.recent(topic, now)
    ages = bridge.symbol_ages.topics.get(topic)
    return {
        "topic": topic,
        "name": bridge.settings.topics[topic],
        "wanted": topic in topics_for(bridge.plans.own.events) or topic not in SUBSCRIBABLE,
        "acknowledged": acknowledged(accounts)[topic],
        "per_second": round(history.rate(topic), 1),
        "history": history.rates(topic),
        "conflated": accounts.conflated[topic],
        "dropped": sum(count for (dropped, _), count in accounts.dropped.items() if dropped is topic),
        "undelivered": accounts.undelivered[topic],
        "last_data_at": _iso_time(last_us),
        "last_data_age_seconds": None if last_us is None else round(max(0, now_us - last_us) / 1e6, 3),
        "oldest_symbol_age_seconds": None if ages is None else round(ages.oldest_seconds, 3),
        "stale_symbols": None if ages is None else ages.stale,
        "receive_to_ack_seconds": {"p50": percentile(recent, 0.5), "p99": percentile(recent, 0.99)},
    }


def _stale_symbols(bridge: BridgeView) -> Json:
    """Return how many symbols are stale, each once for each topic, and the oldest of them."""
    return {
        "count": sum(ages.stale for ages in bridge.symbol_ages.topics.values()),
        "oldest": [
            {
                "topic": one.topic,
                "symbol": one.symbol,
                "age_seconds": round(one.age_seconds, 3),
                "last_data_at": _iso_time(one.heard_us),
            }
            for one in bridge.symbol_ages.oldest_stale
        ],
    }


def _buffer(bridge: BridgeView) -> Json:
    return {
        "bytes": bridge.buffer.bytes,
        "budget_bytes": bridge.buffer.budget_bytes,
        "pending": bridge.accounts.pending,
        "held": len(bridge.ingest.conflation),
        "overloaded": bridge.ingest.overload.active,
    }


def _accounts(bridge: BridgeView) -> Json:
    accounts = bridge.accounts
    return {
        **accounts.totals(),
        "adds_up": accounts.balance == 0,
        "announced": accounts.announced,
        "control_rejected": accounts.control_rejected,
        "filtered_by_kind": dict(accounts.filtered),
        "dead_lettered_by_reason": dict(accounts.dead_lettered),
        "dropped_by_reason": {f"{topic} {reason}": count for (topic, reason), count in accounts.dropped.items()},
        "unknown_fields": dict(bridge.ingest.unknown_fields),
        "bad_fields": _bad_fields(bridge),
    }


def _bad_fields(bridge: BridgeView) -> list[Json]:
    """Return the fields with values that could not be read, most first, each with its newest value."""
    bad_fields = bridge.ingest.bad_fields
    return [
        {
            "topic": bridge.settings.topics[topic],
            "field": field,
            "count": count,
            "value": example.value,
            "expected": example.expected,
            "symbol": example.symbol,
            "at": _iso_time(example.ingest_us),
        }
        for (topic, field), count in bad_fields.counts.most_common()
        for example in [bad_fields.examples[topic, field]]
    ]


def _gap(gap: Gap, now_us: int) -> Json:
    return {
        "from": _iso_time(gap.from_us),
        "to": _iso_time(gap.to_us),
        "seconds": round(gap.seconds(now_us), 3),
        "cause": gap.cause,
    }


def _disconnect(disconnect: Disconnect) -> Json:
    return {
        "first_at": _iso_time(disconnect.first_us),
        "last_at": _iso_time(disconnect.last_us),
        "times": disconnect.times,
        "cause": disconnect.cause,
        "reason": disconnect.reason,
    }
