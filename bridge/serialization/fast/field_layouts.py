"""What updates are about, by the names of their fields: the answers for a few shapes serve a whole feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.market_data import Update, UpdateKind
from bridge.serialization.records import topics_of, unknown_fields

if TYPE_CHECKING:
    from bridge.serialization.fast.serializer import Encode, FastSerializer
    from bridge.topics import Topic

#: Shapes of one kind; a feed that sends only what changed has hundreds.
_SHAPES = 1024
#: The sender chooses unknown names: what is longer than ours all together is not remembered.
_NAMES, _CHARS = 64, 1024


class Shape(msgspec.Struct, frozen=True, gc=False):
    """Carry what ``topics_of`` and ``unknown_fields`` say of an update with no nulls, and what encodes its records.

    A null may leave a topic without a record: its function then returns None.
    """

    topics: tuple[Topic, ...]
    unknown: frozenset[str]
    encode: dict[Topic, Encode]


class Shapes:
    """Give the shape of updates of one kind by the names of their fields, in their order.

    ``known.get(names) or new(names)``; see ``OfTexts``.
    """

    __slots__ = ("_fast_serializer", "_kind", "known")

    def __init__(self, kind: UpdateKind, fast_serializer: FastSerializer) -> None:
        self.known: dict[tuple[str, ...], Shape] = {}
        self._kind = kind
        self._fast_serializer = fast_serializer

    def new(self, names: tuple[str, ...]) -> Shape:
        """Return a shape that is not known."""
        example = Update(self._kind, "", dict.fromkeys(names, ""))
        topics, unknown = topics_of(example), unknown_fields(example)
        if len(names) > _NAMES or sum(map(len, names)) > _CHARS:
            return Shape(topics, unknown, {topic: self._fast_serializer.of(topic) for topic in topics})
        if len(self.known) >= _SHAPES:
            self.known.clear()
        shape = Shape(topics, unknown, {topic: self._fast_serializer.of(topic, names) for topic in topics})
        self.known[names] = shape
        return shape
