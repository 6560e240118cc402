"""Keep the chains of a plan resolved: at start, every day, when prices move, and when asked to.

The last good resolution is used until there is a better one, however long the endpoint fails. Contracts expire and
strikes follow the price without any request, as a listing is kept whole.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from bridge import log_events
from bridge.aries.chains.listing import Listing
from bridge.aries.chains.merging import with_contracts
from bridge.aries.chains.selection import Selection, depends_on_price, select
from bridge.aries.chains.times import exchange_date, next_resolution
from bridge.backoff import Backoff
from bridge.errors import ChainUnavailable
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

    from bridge.aries.subscriptions import Plan
    from bridge.aries.subscriptions.chain import Chain
    from bridge.errors import ChainFailure

log = structlog.get_logger(__name__)

#: How often prices and clock are looked at.
TICK_SECONDS: Final = 0.25
RETRY_MIN_SECONDS: Final = 2.0
RETRY_MAX_SECONDS: Final = 300.0
#: How long to wait before a listing is requested again in which the price is beyond all strikes.
BEYOND_LISTING_SECONDS: Final = 900.0
#: Bridges resolve up to this long before the daily time, each at another moment.
SPREAD_SECONDS: Final = 600.0
#: Chains that are requested at a time.
CONCURRENT: Final = 2
_MAX_CAUSES: Final = 5


class Endpoints(Protocol):
    """Where listings come from."""

    async def listing(self, underlying: str, expirations: Sequence[date] = ()) -> Listing:
        """Return the listed contracts; raise ChainUnavailable."""

    async def price(self, underlying: str) -> float | None:
        """Return the price of an underlying if it is known; raise ChainUnavailable."""


SourceKey = tuple[str, tuple["date", ...]]


class _Source:
    """What is listed for an underlying, or for some of its expirations, and when it is requested again."""

    def __init__(self, key: SourceKey, listing: Listing | None = None) -> None:
        """Begin with a listing that another entry had of the underlying, if it is known, until there is an own one."""
        self.key = key
        self.underlying, self.expirations = key
        self.listing = listing
        self.resolved_at: float | None = None
        self.due_at = 0.0
        self.problem = ""
        self.forced = ""
        self.request: asyncio.Task[None] | None = None
        self.backoff = Backoff(RETRY_MIN_SECONDS, RETRY_MAX_SECONDS)
        self._decided_at = 0.0

    def is_due(self, now: float) -> bool:
        """Return whether to request it now; also if the clock was set back."""
        return bool(self.forced) or now >= self.due_at or now < self._decided_at

    def next_at(self, now: float, due_at: float) -> None:
        """Set when to request it again."""
        self._decided_at, self.due_at = now, due_at

    def hurry(self, seconds: float) -> None:
        """Request it again so many seconds after the last time, rather than later."""
        if self.resolved_at is not None and not self.problem:
            self.due_at = min(self.due_at, self.resolved_at + seconds)


@dataclass(slots=True)
class _State:
    """What is selected of a chain, of which listing and on which date."""

    selection: Selection = field(default_factory=Selection)
    listing: Listing | None = None
    today: date | None = None


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """What is known of the chains of one underlying; the time is in seconds since the epoch."""

    underlying: str
    contracts: int
    left_out: int
    resolved_at: float | None
    #: Why it is not resolved, or not resolved again; empty if nothing is wrong.
    problem: str
    is_resolved: bool


class ChainResolver:
    """The chains of the newest plan, and their contracts.

    ``on_plan`` gets each plan that differs from the one before, with all contracts. ``last_price`` is the newest price
    of an underlying in the feed, if there is one.
    """

    def __init__(
        self,
        plan: Plan,
        endpoints: Endpoints,
        *,
        last_price: Callable[[str], float | None],
        on_plan: Callable[[Plan], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failures: Counter[tuple[str, ChainFailure]] = Counter()
        self._endpoints = endpoints
        self._last_price = last_price
        self._on_plan = on_plan
        self._clock = clock
        self._lead_seconds = random.uniform(0, SPREAD_SECONDS)  # noqa: S311 - spreads load, protects no secret
        self._wake = asyncio.Event()
        self._limit = asyncio.Semaphore(CONCURRENT)
        self._sources: dict[SourceKey, _Source] = {}
        self._states: dict[Chain, _State] = {}
        self._causes: dict[str, None] = {}
        self._plan = plan
        self._adopt(plan)
        #: The newest plan with all contracts.
        self.resolved = with_contracts(plan, {})

    def replace(self, plan: Plan) -> None:
        """Resolve the chains of another plan from now on; what is known of those that stay is kept."""
        self._plan = plan
        self._adopt(plan)
        if plan.chains:
            self._causes["new subscriptions"] = None
        self._update(is_new_plan=True)
        self._wake.set()

    def resolve_now(self, cause: str) -> None:
        """Request all chains again."""
        for source in self._sources.values():
            source.forced = cause
        self._wake.set()

    def statuses(self) -> list[ChainStatus]:
        """Return what is known of each underlying."""
        return [self._status(underlying) for underlying in dict.fromkeys(one.underlying for one in self._plan.chains)]

    async def run(self) -> None:
        """Keep all chains resolved until cancelled."""
        async with asyncio.TaskGroup() as requests:
            while True:
                now = self._clock()
                for source in self._sources.values():
                    if source.request is None and source.is_due(now):
                        source.request = requests.create_task(self._request(source), name="chain request")
                self._update()
                await wait_until_set(self._wake, TICK_SECONDS if self._sources else None)
                self._wake.clear()

    # -- requests -----------------------------------------------------------------------------------------------

    def _adopt(self, plan: Plan) -> None:
        before, self._sources = self._sources, {}
        for chain in plan.chains:
            key = _source_key(chain)
            if key not in self._sources:
                self._sources[key] = before.get(key) or _Source(key, _listed(before.values(), chain.underlying))
        self._states = {chain: self._states.get(chain) or _State() for chain in plan.chains}
        for key, source in before.items():
            if key not in self._sources and source.request is not None:
                source.request.cancel()

    async def _request(self, source: _Source) -> None:
        cause, source.forced = source.forced or ("start" if source.resolved_at is None else "daily"), ""
        try:
            async with self._limit:
                listing = await request_listing(
                    self._endpoints, source.key, self._clock(), needs_price=self._needs_price(source)
                )
        except ChainUnavailable as error:
            self._on_failure(source, error)
        else:
            self._on_listing(source, listing, cause)
        finally:
            source.request = None

    def _needs_price(self, source: _Source) -> bool:
        return self._last_price(source.underlying) is None and any(
            depends_on_price(chain) for chain in self._plan.chains if _source_key(chain) == source.key
        )

    def _on_failure(self, source: _Source, error: ChainUnavailable) -> None:
        self.failures[source.underlying, error.failure] += 1
        delay = max(1.0, source.backoff.next_seconds(), error.retry_after_seconds or 0.0)
        now = self._clock()
        source.next_at(now, now + delay)
        if source.problem != str(error):
            log.warning(
                log_events.CHAIN_UNRESOLVED,
                underlying=source.underlying,
                failure=error.failure,
                problem=str(error),
                retry_seconds=round(delay, 1),
                contracts=self._status(source.underlying).contracts,
            )
        source.problem = str(error)

    def _on_listing(self, source: _Source, listing: Listing, cause: str) -> None:
        now = self._clock()
        source.listing, source.resolved_at, source.problem = listing, now, ""
        source.backoff.reset()
        source.next_at(now, next_resolution(now + self._lead_seconds) - self._lead_seconds)
        self._causes[f"{source.underlying}: {cause}"] = None
        self._update()
        status = self._status(source.underlying)
        log.info(
            log_events.CHAIN_RESOLVED,
            underlying=source.underlying,
            cause=cause,
            listed=len(listing.contracts),
            unreadable=listing.unreadable,
            contracts=status.contracts,
            left_out=status.left_out,
        )

    # -- selections ---------------------------------------------------------------------------------------------

    def _update(self, *, is_new_plan: bool = False) -> None:
        """Select what is due to be selected, and hand on the plan if that changed it."""
        today = exchange_date(self._clock())
        changed = [chain for chain in self._plan.chains if self._select(chain, today)]
        if not (changed or is_new_plan):
            return
        plan = with_contracts(self._plan, {chain: state.selection for chain, state in self._states.items()})
        if plan != self.resolved:
            plan.cause = "; ".join([*self._causes][:_MAX_CAUSES])
            self.resolved = plan
            self._on_plan(plan)
        self._causes.clear()

    def _select(self, chain: Chain, today: date) -> bool:
        """Select the contracts of a chain if that is due; return whether it was."""
        state, source = self._states[chain], self._sources[_source_key(chain)]
        listing = source.listing
        if listing is None:
            return False
        price = self._last_price(chain.underlying) or listing.price
        before = state.selection
        is_new = listing is not state.listing
        has_moved = price is not None and (before.needs_price or price not in before.band)
        if price is not None and price not in before.listed:
            source.hurry(BEYOND_LISTING_SECONDS)
        if not (is_new or today != state.today or has_moved):
            return False
        if not is_new:
            reason = f"price {price:g}" if has_moved else f"date {today}"
            self._causes[f"{chain.underlying}: {reason}"] = None
        anchor = None if is_new or has_moved else before.anchor
        state.selection = select(chain, listing.contracts, price, today, anchor=anchor)
        if state.selection.left_out and not before.left_out:
            log.warning(
                log_events.CHAIN_LIMITED,
                underlying=chain.underlying,
                max_contracts=chain.max_contracts,
                left_out=state.selection.left_out,
                hint="raise it, or narrow the expirations or strikes",
            )
        state.listing, state.today = listing, today
        return True

    def _status(self, underlying: str) -> ChainStatus:
        sources = [source for source in self._sources.values() if source.underlying == underlying]
        selections = [state.selection for chain, state in self._states.items() if chain.underlying == underlying]
        times = [source.resolved_at for source in sources]
        problem = next((source.problem for source in sources if source.problem), "")
        needs_price = any(selection.needs_price for selection in selections)
        return ChainStatus(
            underlying,
            contracts=len({symbol for selection in selections for symbol in selection.symbols}),
            left_out=sum(selection.left_out for selection in selections),
            resolved_at=min((at for at in times if at is not None), default=None),
            problem=problem or (f"the price of {underlying} is not known yet" if needs_price else ""),
            is_resolved=None not in times and not needs_price,
        )


async def request_listing(endpoints: Endpoints, key: SourceKey, now: float, *, needs_price: bool) -> Listing:
    """Return a listing, with the price if it is needed and known; raise ChainUnavailable."""
    underlying, expirations = key
    today = exchange_date(now)
    to_come = tuple(day for day in expirations if day >= today)
    if expirations and not to_come:
        return Listing(())
    listing = await endpoints.listing(underlying, to_come)
    if needs_price and listing.price is None and expirations:
        with suppress(ChainUnavailable):  # the feed will tell
            return listing._replace(price=await endpoints.price(underlying))
    return listing


class Resolution(NamedTuple):
    """Chains resolved once: the plan with their contracts, those of each chain, and problems by underlying."""

    plan: Plan
    selections: Mapping[Chain, Selection]
    problems: Mapping[str, str]


async def resolve_once(plan: Plan, endpoints: Endpoints, now: float) -> Resolution:
    """Resolve the chains of a plan by what is listed at a time, in seconds since the epoch."""
    problems: dict[str, str] = {}
    listings: dict[SourceKey, Listing | None] = {}
    selections: dict[Chain, Selection] = {}
    for chain in plan.chains:
        key = _source_key(chain)
        try:
            if key not in listings:
                listings[key] = None
                listings[key] = await request_listing(endpoints, key, now, needs_price=True)
        except ChainUnavailable as error:
            problems[chain.underlying] = str(error)
        if (listing := listings[key]) is not None:
            selections[chain] = select(chain, listing.contracts, listing.price, exchange_date(now))
            if selections[chain].needs_price:
                problems[chain.underlying] = "the answer has no price; the bridge waits for a trade in the feed."
    return Resolution(with_contracts(plan, selections), selections, problems)


def _listed(sources: Iterable[_Source], underlying: str) -> Listing | None:
    """Return everything that is known to be listed of an underlying, None if nothing is."""
    listings = [source.listing for source in sources if source.underlying == underlying and source.listing is not None]
    if not listings:
        return None
    contracts = {contract.symbol: contract for listing in listings for contract in listing.contracts}
    return Listing(tuple(contracts.values()), listings[-1].price)


def _source_key(chain: Chain) -> SourceKey:
    return chain.underlying, chain.expirations
