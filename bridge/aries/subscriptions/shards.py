"""Share the symbols among several bridges: each takes those that are its own, and asks nobody.

Rendezvous hashing (Thaler and Ravishankar, 1996): a symbol belongs to the shard with which its hash is highest. So
shards never overlap, together they are the whole set, and another number of shards moves only the symbols that the
new ones win or the gone ones leave.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from bridge.aries.subscriptions import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

#: Market status is the same for all: this shard alone publishes it.
MARKET_STATUS_SHARD = 0
_ORDINAL = re.compile(r"-(\d{1,6})$")


def ordinal(host_name: str) -> int | None:
    """Return the number at the end of a StatefulSet pod's name; None where there is none."""
    found = _ORDINAL.search(host_name)
    return int(found[1]) if found else None


def shard_of(symbol: str, shards: int) -> int:
    """Return the shard that a symbol belongs to."""
    return max(range(shards), key=_weight_of(symbol))


def own_share(plan: Plan, shard: int, shards: int) -> Plan:
    """Return the part of a plan that is one shard's."""
    if shards == 1:
        return plan
    own = [subscription for symbol, subscription in plan.items() if shard_of(symbol, shards) == shard]
    return Plan(own, plan.warnings)


def _weight_of(symbol: str) -> Callable[[int], bytes]:
    # The hash has to be the same in every process and release; Python's own is neither.
    return lambda shard: blake2b(f"{shard}:{symbol}".encode(), digest_size=8).digest()
