"""Field layouts of updates: what follows from the names of an update's fields, cached by these names.

A feed sends few different combinations of fields, so most updates find their layout in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.market_data import UpdateKind, correction_fields
from bridge.serialization.records import record_topics, unknown_fields
from bridge.topics import Topic

if TYPE_CHECKING:
    from bridge.serialization.fast.serializer import FastSerializer, RecordEncoder

#: Layouts of one kind of update; a feed that sends only what changed has hundreds.
_MAX_LAYOUTS = 1024
#: The sender chooses unknown names: a layout with more names or characters than all known ones have is not cached.
_MAX_NAMES, _MAX_CHARACTERS = 64, 1024
#: Topics with records of executions.
_EXECUTIONS = frozenset({Topic.TRADES, Topic.TIMESALES})


class FieldLayout(msgspec.Struct, frozen=True, gc=False):
    """The topics, the unknown fields and the record encoders of updates with certain fields.

    ``corrections`` are those of the unknown fields by which an update may cancel or correct an execution.
    """

    topics: tuple[Topic, ...]
    unknown: frozenset[str]
    corrections: tuple[str, ...]
    encode: dict[Topic, RecordEncoder]


class FieldLayoutCache:
    """A cache of the field layouts of one kind of update, to be used as ``known.get(names) or new(names)``.

    The key is the update's field names in their order. ``TextCache`` says why this is not a subclass of dict.
    """

    __slots__ = ("_fast_serializer", "_kind", "known")

    def __init__(self, kind: UpdateKind, fast_serializer: FastSerializer) -> None:
        self.known: dict[tuple[str, ...], FieldLayout] = {}
        self._kind = kind
        self._fast_serializer = fast_serializer

    def new(self, names: tuple[str, ...]) -> FieldLayout:
        """Return a layout that is not in the cache, and add it unless its names are too many or too long."""
        topics, unknown = record_topics(self._kind, names), unknown_fields(self._kind, names)
        corrections = () if _EXECUTIONS.isdisjoint(topics) else correction_fields(unknown)
        encoder = self._fast_serializer.encoder
        if len(names) > _MAX_NAMES or sum(map(len, names)) > _MAX_CHARACTERS:
            return FieldLayout(topics, unknown, corrections, {topic: encoder(topic) for topic in topics})
        if len(self.known) >= _MAX_LAYOUTS:
            self.known.clear()
        layout = FieldLayout(topics, unknown, corrections, {topic: encoder(topic, names) for topic in topics})
        self.known[names] = layout
        return layout
