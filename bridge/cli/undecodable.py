"""Records that cannot be decoded: each cause is shown once, and counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bridge.cli.terminal import note
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from bridge.errors import Undecodable


class NothingDecodable(BridgeError):
    """Records that were read, of which none could be decoded."""


class UndecodableRecords:
    """The records that could not be decoded, by topic and cause."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, message: ConsumerRecord, error: Undecodable) -> None:
        """Count a record; the first of its cause is shown."""
        known = message.topic, error.cause
        if known not in self._counts:
            note(f"{message.topic} partition {message.partition} offset {message.offset}: {error}")
        self._counts[known] += 1

    def __len__(self) -> int:
        return self._counts.total()

    def conclude(self, decoded: int) -> None:
        """Show how many there were, if any; raise NothingDecodable if no record was decoded beside them."""
        if not self:
            return
        listed = ", ".join(f"{count:,} {cause} ({topic})" for (topic, cause), count in self._counts.most_common())
        if not decoded:
            raise NothingDecodable(
                f"none of the records could be decoded: {listed}. Are these the bridge's topics, was their writer "
                "another version, and is SCHEMA_REGISTRY_URL that of the writer?"
            )
        note(f"{len(self):,} record{'s' if len(self) > 1 else ''} could not be decoded: {listed}.")
