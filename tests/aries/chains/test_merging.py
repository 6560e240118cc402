"""A plan with the contracts of its chains: what each symbol gets, and what is only received for its price."""

from __future__ import annotations

from bridge.aries import subscriptions
from bridge.aries.chains.merging import with_contracts, with_prices
from bridge.aries.chains.selection import Selection
from bridge.market_data import EventType
from bridge.plans import wanted_topics
from bridge.settings import quiet_limits
from bridge.topics import Topic

CONTRACT = "AAPL270115C00100000"
CHAIN = '{"underlying":"AAPL","expires_within_days":30,"events":["quotes","greeks"],"fields":{"quotes":["bidPrice"]}}'
AROUND = '{"underlying":"AAPL","expires_within_days":30,"strikes":{"around":2},"events":["trades"]}'


def merged(text: str, *symbols: str) -> subscriptions.Plan:
    """Return a plan in which each chain has one contract."""
    plan = subscriptions.plan(symbols, ("quotes",), text)
    return with_contracts(plan, dict.fromkeys(plan.chains, Selection((CONTRACT,))), "a cause")


def test_contracts_have_what_the_entry_says() -> None:
    """Events and fields of the entry, the type of an option; the cause is kept."""
    plan = merged(f"[{CHAIN}]")
    assert list(plan) == [CONTRACT]
    assert plan[CONTRACT].type == "option"
    assert plan[CONTRACT].events == {EventType.QUOTES, EventType.GREEKS}
    assert plan[CONTRACT].fields == {EventType.QUOTES: ("bidPrice",)}
    assert plan.cause == "a cause"


def test_a_named_contract_keeps_its_own_events() -> None:
    """What an entry says about one symbol overrides the chain."""
    assert merged(f"[{CHAIN}]", CONTRACT)[CONTRACT].events == {EventType.QUOTES}


def test_a_contract_of_two_chains() -> None:
    """It has the events of both."""
    assert merged(f"[{CHAIN},{AROUND}]")[CONTRACT].events == {EventType.QUOTES, EventType.GREEKS, EventType.TRADES}


def test_the_underlying_is_received_for_its_price() -> None:
    """It has no record, no topic and no age; and nothing changes if it is subscribed to anyway, or not needed."""
    plan = with_prices(merged(f"[{AROUND}]"))
    assert plan["AAPL"].events == {EventType.TRADES}
    assert wanted_topics(plan)["AAPL"] == frozenset()
    assert list(quiet_limits.by_topic(quiet_limits.parse("60"), plan)[Topic.TRADES]) == [CONTRACT]
    assert with_prices(merged(f"[{AROUND}]", "AAPL"))["AAPL"].published
    assert "AAPL" not in with_prices(merged(f"[{CHAIN}]"))
