"""The accounts in words: what was read, and where it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The accounts a line or a record can end in, in the order people ask for them.
ENDS = ("published", "filtered", "dead_lettered", "conflated", "dropped", "undelivered")


def equation(totals: Mapping[str, int]) -> str:
    """Return the accounts as the equation they always keep; leave out what is 0."""
    read = f"{totals['lines_received']:,} lines read"
    if totals["split"]:
        read += f" + {totals['split']:,} split"
    ends = [f"{totals[name]:,} {spoken(name)}" for name in (*ENDS, "pending") if totals[name] or name == "published"]
    return f"{read} = {' + '.join(ends)}"


def spoken(name: str) -> str:
    """Return an account's name for people."""
    return name.replace("dead_lettered", "dead-lettered")
