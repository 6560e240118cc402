"""The plan with the contracts that its chains have at the moment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.aries.chains.selection import Selection, depends_on_price
from bridge.aries.subscriptions import Plan, Subscription
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.market_data import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.aries.subscriptions.chain import Chain

#: By its trades the price of an underlying is known.
_PRICE_EVENTS = frozenset({EventType.TRADES})


def with_contracts(plan: Plan, selections: Mapping[Chain, Selection], cause: str = "") -> Plan:
    """Return the plan with what its chains add; a symbol that it names itself stays as it is.

    A contract of several chains has the events of all, and the fields of the first.
    """
    found = dict(plan)
    of_chains: dict[str, Subscription] = {}
    for chain in plan.chains:
        for one in _subscriptions(chain, selections.get(chain, Selection())):
            known = of_chains.get(one.symbol)
            of_chains[one.symbol] = one if known is None else replace(known, events=known.events | one.events)
    found |= {symbol: one for symbol, one in of_chains.items() if symbol not in found}
    return Plan(found.values(), (*plan.warnings, *_warnings(plan.chains, selections)), plan.chains, cause)


def with_prices(share: Plan) -> Plan:
    """Return a shard's share of a plan with the underlyings whose price it needs, though another shard has them."""
    unpublished = {
        chain.underlying: Subscription(chain.underlying, chain.underlying_type, _PRICE_EVENTS, published=False)
        for chain in share.chains
        if depends_on_price(chain) and chain.underlying not in share
    }
    if not unpublished:
        return share
    return Plan((*share.values(), *unpublished.values()), share.warnings, share.chains, share.cause)


def _subscriptions(chain: Chain, selection: Selection) -> Iterator[Subscription]:
    if events := chain.underlying_events:
        fields = {event: names for event, names in chain.fields.items() if event in events}
        yield Subscription(chain.underlying, chain.underlying_type, events, fields)
    for symbol in selection.symbols:
        yield Subscription(symbol, SymbolType.OPTION, chain.events, chain.fields)


def _warnings(chains: Iterable[Chain], selections: Mapping[Chain, Selection]) -> Iterator[str]:
    for chain in chains:
        if (left_out := selections.get(chain, Selection()).left_out) > 0:
            yield (
                f"the chain of {chain.underlying} has {left_out} contracts more than its max_contracts "
                f"({chain.max_contracts}), so only the nearest to the price are subscribed to: raise it, or narrow the "
                "expirations or strikes."
            )
