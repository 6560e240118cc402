"""What an update is about, by the names of its fields: the answers for a few shapes serve a whole feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.aries.events import Kind, Update
from bridge.records import FIELDS, topics_of, unknown_fields

if TYPE_CHECKING:
    from bridge.topics import Topic

#: Shapes of one kind; a feed that sends only what changed has hundreds.
_SHAPES = 1024
#: The sender chooses unknown names: what is longer than ours all together is not remembered.
_NAMES, _CHARS = 64, 1024


class Shape(msgspec.Struct, frozen=True, gc=False):
    """Carry what ``topics_of`` and ``unknown_fields`` say of an update, as long as no witness is null."""

    topics: tuple[Topic, ...]
    unknown: frozenset[str]
    witnesses: tuple[str, ...] = ()


class Shapes:
    """Answer ``topics_of`` and ``unknown_fields`` in one look-up."""

    def __init__(self) -> None:
        self._of_kind: dict[Kind, dict[tuple[str, ...], Shape]] = {kind: {} for kind in Kind}

    def of(self, update: Update) -> Shape:
        """Return the topics that get a record of the update, and the names in it that nobody knows."""
        fields = update.fields
        names = tuple(fields)
        shape = self._of_kind[update.kind].get(names) or self._learn(update.kind, names)
        for witness in shape.witnesses:
            if fields[witness] is None:  # then another field of the topic may still say something
                return Shape(topics_of(update), shape.unknown)
        return shape

    def _learn(self, kind: Kind, names: tuple[str, ...]) -> Shape:
        example = Update(kind, "", dict.fromkeys(names, ""))
        topics = topics_of(example)
        witnesses = tuple(next(name for name in names if name in FIELDS[topic]) for topic in topics)
        shape = Shape(topics, unknown_fields(example), witnesses)
        known = self._of_kind[kind]
        if len(names) <= _NAMES and sum(map(len, names)) <= _CHARS:
            if len(known) >= _SHAPES:
                known.clear()
            known[names] = shape
        return shape
