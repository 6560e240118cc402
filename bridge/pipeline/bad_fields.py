"""Values of the feed that could not be read and became null: how many of each field, and an example."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from bridge import log_events
from bridge.errors import describe_value
from bridge.pipeline.incidents import ignore_incident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.serialization.readable_fields import UnreadableField
    from bridge.topics import Topic

log = structlog.get_logger(__name__)


class Example(msgspec.Struct, frozen=True):
    """The newest value of a field that could not be read; ``ingest_us`` is when it was (µs since the epoch)."""

    symbol: str
    value: str
    expected: str
    ingest_us: int


class BadFields:
    """A count and an example for each topic and field; there are no more than the table of field mappings has."""

    def __init__(self, on_incident: Callable[[str, str], None] = ignore_incident) -> None:
        self._on_incident = on_incident
        self.counts: Counter[tuple[Topic, str]] = Counter()
        self.examples: dict[tuple[Topic, str], Example] = {}

    def add(self, unreadable: Iterable[UnreadableField], symbol: str, ingest_us: int) -> None:
        """Count the values of an update that could not be read; log the first of each topic and field."""
        for topic, name, value, expected, _ in unreadable:
            example = Example(symbol, describe_value(value), expected, ingest_us)
            if not self.counts[topic, name]:
                log.warning(
                    log_events.BAD_FIELD, topic=topic, field=name, value=example.value, expected=expected, symbol=symbol
                )
                self._on_incident("bad_field", f"{topic}: {name}")
            self.counts[topic, name] += 1
            self.examples[topic, name] = example
