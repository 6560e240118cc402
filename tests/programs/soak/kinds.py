"""All kinds of fault, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.programs.soak.feed_kinds import feed_kinds
from tests.programs.soak.group_kinds import ALSO_OF_GROUPS, group_kinds
from tests.programs.soak.kafka_kinds import kafka_kinds
from tests.programs.soak.process_kinds import process_kinds
from tests.programs.soak.subscription_kinds import subscription_kinds

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.programs.soak.plan import Kind


class NoSuchKind(Exception):
    """An error: some names are not kinds of fault."""


def kinds(brokers: int, only: Collection[str] = (), *, group: int = 0) -> tuple[Kind, ...]:
    """Return all kinds, or those of these names or families; raise NoSuchKind.

    ``group``: how many processes share shards; 0 if there is one that is no member of a group.
    """
    known: tuple[Kind, ...] = (*kafka_kinds(brokers), *feed_kinds())
    if group:
        known = (*group_kinds(group, brokers), *(kind for kind in known if kind.name in ALSO_OF_GROUPS))
    else:
        known = (*known, *process_kinds(), *subscription_kinds())
    unknown = set(only) - {kind.name for kind in known} - {str(kind.family) for kind in known}
    if unknown:
        raise NoSuchKind(f"no kind of fault, nor a family of them: {', '.join(sorted(unknown))}")
    return tuple(kind for kind in known if not only or kind.name in only or kind.family in only)
