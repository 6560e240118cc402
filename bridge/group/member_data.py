"""What the members of a group tell each other: each about itself when it joins, the leader about all of them.

Both are JSON in the user data of the consumer protocol, so that Kafka's own tools show the partitions beside it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.group.marks import MAX_SHARDS, UNREADABLE


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the group.

    ``shards`` is its BRIDGE_SHARDS, ``owned`` what it owns when it joins, ``suspended`` what it had when its leases
    ended and goes on with if no other process has claimed it. ``fingerprint`` is that of the plan of all shards;
    ``fit`` is false while it cannot reach Aries, and ``fresh`` true if it has followed the marks for less than a lease.
    ``assigned`` is what the leader gives it.
    """

    instance: str
    process: str
    shards: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)]
    owned: tuple[int, ...] = ()
    suspended: tuple[int, ...] = ()
    fingerprint: str = ""
    fit: bool = True
    fresh: bool = False
    version: str = ""
    assigned: tuple[int, ...] = ()


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """All members of a generation, as the leader saw them."""

    members: tuple[Member, ...] = ()


_member, _members = msgspec.json.Decoder(Member), msgspec.json.Decoder(Members)


def encode(data: Member | Members) -> bytes:
    """Return the user data of a member, or of an assignment."""
    return msgspec.json.encode(data)


def decode_member(data: bytes | None) -> Member | None:
    """Return what a member says of itself, None if it is no bridge, or one of another version."""
    try:
        return _member.decode(data or b"")
    except UNREADABLE:
        return None


def decode_members(data: bytes | None) -> tuple[Member, ...]:
    """Return the members of a generation, none if the leader was no bridge."""
    try:
        return _members.decode(data or b"").members
    except UNREADABLE:
        return ()
