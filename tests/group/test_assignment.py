"""The assignment of shards to members."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.group.assignment import assign
from bridge.group.member_data import Member


def member(
    name: str,
    *,
    shards: int = 3,
    owned: tuple[int, ...] = (),
    suspended: tuple[int, ...] = (),
    fit: bool = True,
    fresh: bool = False,
) -> Member:
    """Return a member named after its instance."""
    return Member(
        instance=name,
        process=f"process of {name}",
        shards=shards,
        owned=owned,
        suspended=suspended,
        fit=fit,
        fresh=fresh,
    )


def test_a_single_shard_stays_with_its_owner() -> None:
    """A process that joins gets nothing while the owner of the only shard is there."""
    members = {"1": member("b", shards=1, owned=(0,)), "2": member("a", shards=1)}

    assert assign(members, 1) == {"1": (0,), "2": ()}


def test_a_new_member_gets_only_what_makes_it_even() -> None:
    """Of four shards on one member, two move to a second, and two stay."""
    assigned = assign({"1": member("a", shards=4, owned=(0, 1, 2, 3)), "2": member("b", shards=4)}, 4)

    assert assigned == {"1": (0, 1), "2": (2, 3)}


def test_what_was_owned_until_an_outage_stays_where_it_was() -> None:
    """Only that member has what it has read since; but whoever owns a shard now has it."""
    members = {"1": member("a"), "2": member("b", suspended=(0, 1)), "3": member("c", suspended=(2,))}
    assert assign(members, 3) == {"1": (1,), "2": (0,), "3": (2,)}
    members["1"] = member("a", owned=(0,))
    assert assign(members, 3) == {"1": (0,), "2": (1,), "3": (2,)}


def test_members_of_another_number_of_shards_wait() -> None:
    """While a member has the number of shards in force, those with another get none."""
    members = {"1": member("a", shards=1, owned=(0,)), "2": member("b"), "3": member("c")}

    assert assign(members, 1) == {"1": (0,), "2": (), "3": ()}


def test_a_number_without_members_gives_way() -> None:
    """Once no member has the number in force any more, that of most members counts."""
    members = {"2": member("b"), "3": member("c"), "4": member("d", shards=5)}

    assert assign(members, 1) == {"2": (0, 2), "3": (1,), "4": ()}


def test_a_member_that_cannot_reach_aries_gives_its_shards_to_others() -> None:
    """A member that says that it cannot reach Aries gets no shard if another may."""
    members = {"1": member("a", shards=1, owned=(0,), fit=False), "2": member("b", shards=1)}

    assert assign(members, 1) == {"1": (), "2": (0,)}


def test_if_none_can_reach_aries_each_keeps_what_it_has() -> None:
    """An outage of Aries moves nothing."""
    members = {"1": member("a", shards=1, owned=(0,), fit=False), "2": member("b", shards=1, fit=False)}

    assert assign(members, 1) == {"1": (0,), "2": ()}


def test_a_restarted_process_comes_after_a_standby() -> None:
    """What an owner that was killed has left goes to one that knows when its lease ends, whatever their names."""
    members = {"1": member("a", shards=1, fresh=True), "2": member("b", shards=1)}

    assert assign(members, 1) == {"1": (), "2": (0,)}


def test_fresh_members_get_their_share() -> None:
    """Shares are even all the same, and owners keep what they have."""
    members = {"1": member("a", shards=2, fresh=True), "2": member("b", shards=2, owned=(0, 1))}

    assert assign(members, 2) == {"1": (1,), "2": (0,)}


@given(
    said=st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), min_size=1, max_size=6),
    shards=st.integers(1, 10),
)
def test_each_shard_has_one_member_and_shares_are_even(said: list[tuple[set[int], set[int]]], shards: int) -> None:
    """Whatever members say that they own, or owned, each shard is assigned once; shares differ by at most one."""
    members = {
        str(i): member(f"b{i}", shards=shards, owned=tuple(sorted(owned)), suspended=tuple(sorted(suspended)))
        for i, (owned, suspended) in enumerate(said)
    }

    assigned = assign(members, None)

    assert sorted(shard for shares in assigned.values() for shard in shares) == list(range(shards))
    sizes = [len(shares) for shares in assigned.values()]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(1, 5), shards=st.integers(1, 10))
def test_the_assignment_is_stable(count: int, shards: int) -> None:
    """Members that own what they were assigned keep it."""
    first = assign({str(i): member(f"b{i}", shards=shards) for i in range(count)}, None)
    again = {name: member(f"b{name}", shards=shards, owned=owned) for name, owned in first.items()}

    assert assign(again, shards) == first
