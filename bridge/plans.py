"""The plans of a bridge: what is configured, and the share of it that this process subscribes to.

A plan is read from the settings or the watched file, gets the contracts of its option chains, and is cut down to the
shards of this process. Whichever of these changes, what runs gets the difference, without a reconnect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from bridge import log_events
from bridge.aries.chains.merging import with_contracts, with_prices
from bridge.aries.chains.resolver import ChainResolver
from bridge.aries.chains.selection import depends_on_price
from bridge.aries.client import MAX_LISTED_SYMBOLS
from bridge.aries.subscriptions import ChangedSymbols
from bridge.aries.subscriptions.file_watch import watch
from bridge.aries.subscriptions.plan_change import PlanChange
from bridge.aries.subscriptions.shards import own_share
from bridge.clock import wall_us
from bridge.errors import BridgeError
from bridge.market_data import FIELDS, EventType
from bridge.pipeline.control_events import ControlKind
from bridge.settings import quiet_limits
from bridge.tasks import run_all
from bridge.topics import Topic, latest_topics_for, topics_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from bridge.aries.chains.resolver import Endpoints
    from bridge.aries.client import AriesClient
    from bridge.aries.subscriptions import Plan
    from bridge.kafka.publisher import Publisher
    from bridge.observability.symbol_ages import SymbolAges
    from bridge.pipeline.assembly import Pipeline
    from bridge.settings import Settings
    from bridge.topics import AnyTopic

log = structlog.get_logger(__name__)


class Plans:
    """The configured plan, and this process's share of it that is in force."""

    def __init__(
        self,
        settings: Settings,
        configured: Plan,
        own: Plan,
        applied_us: int,
        *,
        pipeline: Pipeline,
        publisher: Publisher,
        client: AriesClient,
        symbol_ages: SymbolAges,
        endpoints: Endpoints,
        clock: Callable[[], float],
        on_configured: Callable[[], None],
    ) -> None:
        """``own`` is the share that the parts were made with, at ``applied_us``.

        ``clock`` decides which options have expired. ``on_configured`` is called when the watched file has replaced
        the configured plan.
        """
        self.configured = configured
        #: What is subscribed to, and since when (µs since the epoch).
        self.own, self.applied_us = own, applied_us
        self.change = PlanChange(self._apply)
        self.chains = ChainResolver(
            configured,
            endpoints,
            last_price=pipeline.ingest.last_prices.get,
            on_plan=self._request,
            clock=clock,
        )
        self._settings = settings
        self._shards = shards_at_start(settings)
        self._ingest, self._control = pipeline.ingest, pipeline.control
        self._publisher = publisher
        self._client = client
        self._symbol_ages = symbol_ages
        self._quiet_limits = quiet_limits.parse(settings.aries_stale_symbol_seconds)
        self._on_configured = on_configured
        self._follow_prices()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the watched file and the option chains, and apply what changes, until cancelled."""
        await run_all([self._watch_file(stop), self.chains.run(), self.change.run()])

    def set_shards(self, shards: Collection[int]) -> bool:
        """Subscribe to the symbols of the shards that are ours now; return whether that changes anything."""
        self._shards = frozenset(shards)
        before, plan = self.own, self._share(self.chains.resolved)
        if self.change.plan is not None:
            self.change.request(plan)
        else:
            try:
                self._apply(plan, is_handover=True)
            except BridgeError:  # topics of a newer plan, which are not known yet
                self.change.request(plan)
        return any(ChangedSymbols.between(before, plan))

    async def _watch_file(self, stop: asyncio.Event) -> None:
        """Hand each plan of the watched file to the resolver, which hands it on with the contracts of chains."""
        settings = self._settings
        if settings.aries_subscriptions_file is None:
            return
        listed, events = settings.aries_symbols, settings.aries_events
        async for plan in watch(settings.aries_subscriptions_file, listed, events, current=self.configured, stop=stop):
            self.configured = plan
            self.chains.replace(plan)
            self._on_configured()

    def _request(self, resolved: Plan) -> None:
        """Apply our share of a plan of all shards as soon as that is possible."""
        self.change.request(self._share(resolved))

    def _share(self, resolved: Plan) -> Plan:
        return share(resolved, self._shards, self._settings.bridge_shards)

    def _apply(self, plan: Plan, *, is_handover: bool = False) -> None:
        """Change the subscriptions; raise ``KafkaUnreachable`` or ``TopicConfigurationError`` if topics are missing.

        ``is_handover``: what is added or removed is published by another process of the group before or from now on.
        """
        self._publisher.open_topics(topics_of(plan, self._settings))
        changed = ChangedSymbols.between(self.own, plan)
        self.own, self.applied_us = plan, wall_us()
        self._ingest.set_wanted(wanted_topics(plan))
        if self._ingest.latest is not None:
            self._ingest.latest.set_subscribed(latest_fields(plan), self.applied_us, others_publish=is_handover)
        self._symbol_ages.watch(quiet_limits.by_topic(self._quiet_limits, plan))
        self._follow_prices()
        self._client.replan(plan)
        log.info(
            log_events.SUBSCRIPTIONS_CHANGED,
            symbols=len(plan),
            added=len(changed.added),
            removed=len(changed.removed),
            changed=len(changed.changed),
            added_symbols=changed.added[:MAX_LISTED_SYMBOLS],
            removed_symbols=changed.removed[:MAX_LISTED_SYMBOLS],
            changed_symbols=changed.changed[:MAX_LISTED_SYMBOLS],
            fingerprint=plan.fingerprint,
            cause=plan.cause or None,
            warnings=plan.warnings,
        )
        if any(changed) and self._control.has_session and not is_handover:
            self._control.announce(ControlKind.PLAN_CHANGED, reason=_change_text(plan, changed))

    def _follow_prices(self) -> None:
        """Keep the prices of the underlyings that chains follow."""
        self._ingest.follow_prices({chain.underlying for chain in self.own.chains if depends_on_price(chain)})


def share_at_start(settings: Settings, configured: Plan) -> Plan:
    """Return what to subscribe to before any contract is known, and in a group before any shard is ours."""
    return share(with_contracts(configured, {}), shards_at_start(settings), settings.bridge_shards)


def shards_at_start(settings: Settings) -> frozenset[int]:
    """Return the shards of this process; in a group it has none yet."""
    return frozenset() if settings.is_grouped else frozenset({settings.shard})


def share(resolved: Plan, shards: Collection[int], number: int) -> Plan:
    """Return the symbols of some of so many shards, and the underlyings whose prices their chains need."""
    return with_prices(own_share(resolved, shards, number))


def topics_of(plan: Plan, settings: Settings) -> frozenset[AnyTopic]:
    """Return the topics of a plan's data."""
    topics = topics_for(plan.events)
    return topics | latest_topics_for(topics) if settings.bridge_latest else topics


def wanted_topics(plan: Plan) -> dict[str, frozenset[Topic]]:
    """Return the topics that each symbol of a plan is published to."""
    return {symbol: topics_for(one.events) if one.published else frozenset() for symbol, one in plan.items()}


def latest_fields(plan: Plan) -> dict[str, dict[Topic, frozenset[str]]]:
    """Return the fields of the feed that make a latest state complete, by symbol and topic."""
    events = {EventType.QUOTES: Topic.QUOTES, EventType.TRADES: Topic.TRADES}
    return {
        symbol: {
            topic: frozenset(one.fields.get(event) or FIELDS[event])
            for event, topic in events.items()
            if event in one.events
        }
        for symbol, one in plan.items()
    }


def _change_text(plan: Plan, changed: ChangedSymbols) -> str:
    """Return what has changed, and why if option chains are the reason."""
    cause = f" ({plan.cause})" if plan.cause else ""
    return f"{len(plan)} symbols: {changed}{cause}"
