"""Which member of a group gets which shards: evenly, and each shard stays where it is if it can."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.group.member_data import Member


def assign(members: Mapping[str, Member], in_force: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shards of each member, by its id; ``in_force`` is the number of shards that is in force.

    Members with another ``BRIDGE_SHARDS`` get none, unless none has the number in force. Members that cannot reach
    Aries get none if another can.
    """
    count = _count(members.values(), in_force)
    candidates = {name: member for name, member in members.items() if member.shards == count}
    fit = {name: member for name, member in candidates.items() if member.fit} or candidates
    assigned: dict[str, list[int]] = {name: [] for name in _in_order(fit)}
    if assigned:
        left = _keep(assigned, fit, count)
        for shard in left:
            min(assigned.items(), key=lambda one: len(one[1]))[1].append(shard)
    return {name: tuple(sorted(assigned.get(name, ()))) for name in members}


def _count(members: Iterable[Member], in_force: int | None) -> int:
    """Return the number of shards that counts: the one in force while a member has it, else that of most members."""
    counts = Counter(member.shards for member in members)
    if in_force is not None and in_force in counts:
        return in_force
    return max(counts, key=lambda count: (counts[count], count))


def _in_order(members: Mapping[str, Member]) -> list[str]:
    """Return the members in an order that does not depend on their ids, those that own most first.

    A fresh one comes after others: it does not know when the lease of an owner ends that was killed, and waits longer.
    That is so for a container that was killed and restarted.
    """

    def place(name: str) -> tuple[int, int, bool, str, str]:
        member = members[name]
        return -len(member.owned), -len(member.suspended), member.fresh, member.instance, member.process

    return sorted(members, key=place)


def _keep(assigned: dict[str, list[int]], members: Mapping[str, Member], count: int) -> list[int]:
    """Let members keep what they own, up to an even share; return the shards that are left.

    What a member had when its leases ended it keeps if no other says that it owns it.
    """
    share, larger_shares = divmod(count, len(assigned))
    left = set(range(count))
    had = [(name, members[name].owned) for name in assigned] + [(name, members[name].suspended) for name in assigned]
    for name, own in had:
        shards = assigned[name]
        room = share - len(shards) + (larger_shares > 0)
        kept = [shard for shard in sorted(own) if shard in left][: max(0, room)]
        larger_shares -= len(shards) <= share < len(shards) + len(kept)
        shards.extend(kept)
        left.difference_update(kept)
    return sorted(left)
