"""Rendezvous-hash symbols over shards (Thaler and Ravishankar, 1996).

Each symbol belongs to the shard with the highest hash of shard and symbol. Shards never overlap, together they have all
symbols, and a change of their number moves only the symbols that new shards win or removed shards leave.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING

from bridge.aries.subscriptions import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

#: The only shard that publishes the market status, which is the same for all.
MARKET_STATUS_SHARD = 0
_ORDINAL = re.compile(r"-(\d{1,6})$")


def ordinal(host_name: str) -> int | None:
    """Return the number at the end of a StatefulSet pod's name, None if there is none."""
    found = _ORDINAL.search(host_name)
    return int(found[1]) if found else None


def shard_of(symbol: str, shards: int) -> int:
    """Return the shard to which a symbol belongs."""
    return max(range(shards), key=_hash_of(symbol))


def own_share(plan: Plan, own_shards: Collection[int], shards: int) -> Plan:
    """Return the part of a plan that belongs to some of the shards."""
    if len(own_shards) == shards:
        return plan
    own = [subscription for symbol, subscription in plan.items() if shard_of(symbol, shards) in own_shards]
    return Plan(own, plan.warnings, plan.chains, plan.cause)


def sizes(symbols: Iterable[str], shards: int) -> list[int]:
    """Return how many symbols each shard gets."""
    counts = Counter(shard_of(symbol, shards) for symbol in symbols)
    return [counts[shard] for shard in range(shards)]


def _hash_of(symbol: str) -> Callable[[int], bytes]:
    # Unlike Python's own hash, this one is the same in every process and release.
    return lambda shard: blake2b(f"{shard}:{symbol}".encode(), digest_size=8).digest()
