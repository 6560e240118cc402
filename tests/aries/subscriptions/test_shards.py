"""Shards: a partition of the symbols that moves as few of them as possible."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.subscriptions import Plan, Subscription
from bridge.aries.subscriptions.shards import ordinal, own_share, shard_of
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.market_data import EventType

SYMBOLS = st.sets(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", min_size=1, max_size=12), max_size=60)


def plan_of(symbols: set[str]) -> Plan:
    return Plan(Subscription(symbol, SymbolType.EQUITY, frozenset({EventType.QUOTES})) for symbol in sorted(symbols))


@given(symbols=SYMBOLS, shards=st.integers(1, 12))
def test_the_shares_never_overlap_and_together_are_the_whole_set(symbols: set[str], shards: int) -> None:
    """Every symbol is in exactly one shard's plan."""
    plan = plan_of(symbols)
    shares = [own_share(plan, [shard], shards) for shard in range(shards)]
    assert Counter(symbol for share in shares for symbol in share) == Counter(symbols)


@given(symbols=SYMBOLS, shards=st.integers(1, 12))
def test_a_new_shard_moves_no_symbols_among_the_others(symbols: set[str], shards: int) -> None:
    """With one more shard, a symbol stays in its shard or moves to the new one."""
    for symbol in symbols:
        before, after = shard_of(symbol, shards), shard_of(symbol, shards + 1)
        assert after in (before, shards)


def test_the_shares_are_of_similar_size() -> None:
    """With 5,000 symbols in eight shards, no shard has twice the average."""
    sizes = Counter(shard_of(f"S{number:04}", 8) for number in range(5000))
    assert len(sizes) == 8
    assert max(sizes.values()) < 2 * 5000 / 8


def test_a_symbol_keeps_its_shard_in_every_release() -> None:
    """Known results: two releases that run at the same time must agree."""
    assert [shard_of(symbol, 4) for symbol in ("AAPL", "MSFT", "SPX", "BRK.B")] == [3, 0, 0, 2]


def test_the_ordinal_is_the_number_at_the_end_of_a_pods_name() -> None:
    """The names of a StatefulSet's pods end in their ordinal; other host names have none."""
    assert ordinal("aries-bridge-11") == 11
    assert ordinal("aries-bridge-7d9f") is None
    assert ordinal("11") is None
