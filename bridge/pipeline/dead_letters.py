"""What could not become a record, kept for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bridge
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.errors import BadLine
    from bridge.pipeline.record_buffer import Record
    from bridge.serialization.serializer import Serializer

#: A longer line is cut, and the error says so: Kafka would not take it whole.
MAX_RAW_BYTES = 512 * 1024


class DeadLetters:
    """Write ``DeadLetter`` records."""

    def __init__(self, serializer: Serializer, dialect: str, redact: Callable[[str], str] = str) -> None:
        self._serializer = serializer
        self._dialect = dialect
        self._redact = redact

    def write(self, raw: bytes, error: BadLine, *, session_id: int | None, ingest_time_us: int) -> Record:
        """Return the record of a line that could not become one; its key is the symbol, where it is known."""
        text = self._redact(str(error))
        if len(raw) > MAX_RAW_BYTES:
            text += f" (the line has {len(raw)} bytes, of which the first {MAX_RAW_BYTES} are kept)"
        symbol = error.symbol and self._redact(error.symbol)
        letter: dict[str, object] = {
            "reason": error.reason,
            "error": text,
            # A server may echo what it was sent, a token among it. Latin-1 maps every byte to itself.
            "raw": self._redact(raw[:MAX_RAW_BYTES].decode("latin-1")).encode("latin-1"),
            "symbol": symbol,
            "dialect": self._dialect,
            "session_id": session_id or None,
            "ingest_time_us": ingest_time_us,
            "bridge_version": bridge.__version__,
        }
        key = symbol.encode() if symbol else None
        return ingest_time_us, key, self._serializer.encode(Topic.DLQ, letter), error.reason
