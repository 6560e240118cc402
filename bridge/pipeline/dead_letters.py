"""Dead letters: lines and records that could not be published, kept on ``aries.dlq`` for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import bridge
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.errors import BadLine
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.overload import Overload
    from bridge.pipeline.partition_queue import Record
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.serialization.serializer import Serializer

#: A longer line is cut, and the error says so: Kafka would not take it whole.
MAX_RAW_BYTES: Final = 512 * 1024


class DeadLetters:
    """The writer of ``DeadLetter`` records."""

    def __init__(
        self,
        serializer: Serializer,
        buffer: RecordBuffer,
        accounts: Accounts,
        overload: Overload,
        *,
        dialect: str,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.session_id = 0
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        self._overload = overload
        self._dialect = dialect
        self._redact = redact

    def queue(self, raw: bytes, error: BadLine, ingest_us: int) -> None:
        """Queue the dead letter of a line or record; if there is no room, account for it as dropped."""
        letter = self._record(raw, error, ingest_us)
        queue = self._buffer.queue_for(Topic.DLQ, letter[1])
        if not self._buffer.offer(queue, letter):
            self._overload.begin(queue)
            self._accounts.dropped[Topic.DLQ, "overload"] += 1

    def _record(self, raw: bytes, error: BadLine, ingest_us: int) -> Record:
        """Return the dead letter; its key is the symbol, if that is known."""
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
            "session_id": self.session_id or None,
            "ingest_time_us": ingest_us,
            "bridge_version": bridge.__version__,
        }
        key = symbol.encode() if symbol else None
        return ingest_us, key, self._serializer.encode(Topic.DLQ, letter), error.reason
