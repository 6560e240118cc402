"""Latencies from reading a line to the acknowledgement of its record, for every record."""

from __future__ import annotations

import json
import time
from array import array
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: Records of the first second are not counted: connections and caches are new.
WARM_UP_US: Final = 1_000_000
PARTS: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Latencies:
    """Latencies in µs of the records read after the first second."""

    def __init__(self) -> None:
        self._from_us: int | None = None
        self._micros = array("q")

    def note(self, ingest_us: int, now_us: int) -> None:
        """Add one record, with the times of reading and acknowledgement."""
        if self._from_us is None:
            self._from_us = ingest_us + WARM_UP_US
        if ingest_us >= self._from_us:
            self._micros.append(now_us - ingest_us)

    def note_all(self, ingests_us: Iterable[int], now_us: int) -> None:
        """Add records that were acknowledged together."""
        for ingest_us in ingests_us:
            self.note(ingest_us, now_us)

    def noting(self, ingest_us: int) -> Callable[[object], None]:
        """Return the callback of a record's future."""
        return partial(self._acknowledged, ingest_us)

    def _acknowledged(self, ingest_us: int, _: object) -> None:
        self.note(ingest_us, time.time_ns() // 1000)

    def summary(self) -> dict[str, float]:
        """Return the count and the percentiles (nearest rank) in milliseconds."""
        ordered = sorted(self._micros)
        found: dict[str, float] = {"count": len(ordered)}
        if ordered:
            found |= {name: ordered[ceil(part * len(ordered)) - 1] / 1000 for name, part in PARTS.items()}
        return found

    def save(self, file: Path) -> None:
        """Write the summary as JSON."""
        file.write_text(json.dumps(self.summary()), "utf-8")
