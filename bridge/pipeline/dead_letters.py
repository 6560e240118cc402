"""Dead letters: lines and records that could not be published, kept on ``aries.dlq`` for analysis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import bridge
from bridge.pipeline.accounts import RATE_LIMIT
from bridge.pipeline.dead_letter_limit import DeadLetterLimit
from bridge.pipeline.incidents import ignore_incident
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
#: The reason of dead letters that hold the value of a record which Kafka rejected, and no line.
RECORD_REJECTED: Final = "record_refused"
_CUT: Final = re.compile(r" \(the line has \d+ bytes, of which the first \d+ are kept\)$")


def is_cut(error: str) -> bool:
    """Return whether a dead letter with this error holds only the beginning of its line."""
    return _CUT.search(error) is not None


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
        limit: DeadLetterLimit | None = None,
        on_incident: Callable[[str, str], None] = ignore_incident,
    ) -> None:
        self.session_id = 0
        self.limit = limit or DeadLetterLimit()
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        self._overload = overload
        self._dialect = dialect
        self._redact = redact
        self._on_incident = on_incident

    def queue(self, raw: bytes, error: BadLine, ingest_us: int, session_id: int | None = None) -> None:
        """Queue the dead letter of a line, or of a record of an earlier session.

        Beyond the rate limit, and where there is no room, it is accounted for as dropped.
        """
        self._on_incident("dead_letter", error.reason)
        if not self.limit.admits(error.reason, min(len(raw), MAX_RAW_BYTES)):
            self._drop(error, RATE_LIMIT)
            return
        letter = self._record(raw, error, ingest_us, session_id or self.session_id or None)
        queue = self._buffer.queue_for(Topic.DLQ, letter[1])
        if not self._buffer.offer(queue, letter):
            self._overload.begin(queue)
            self._drop(error, "overload")

    def _drop(self, error: BadLine, reason: str) -> None:
        """Account for every record that consumers miss, as there is no dead letter to explain it."""
        self._accounts.split += error.records - 1
        self._accounts.dropped[Topic.DLQ, reason] += error.records

    def _record(self, raw: bytes, error: BadLine, ingest_us: int, session_id: int | None) -> Record:
        """Return the dead letter; its key is the symbol, if that is known."""
        text, raw_kept, symbol = self._redacted(str(error), raw[:MAX_RAW_BYTES], error.symbol)
        if len(raw) > MAX_RAW_BYTES:
            text += f" (the line has {len(raw)} bytes, of which the first {MAX_RAW_BYTES} are kept)"
        letter: dict[str, object] = {
            "reason": error.reason,
            "error": text,
            "raw": raw_kept,
            "symbol": symbol,
            "dialect": self._dialect,
            "session_id": session_id,
            "ingest_time_us": ingest_us,
            "bridge_version": bridge.__version__,
        }
        key = symbol.encode() if symbol else None
        return ingest_us, key, self._serializer.encode(Topic.DLQ, letter), error.reason

    def _redacted(self, text: str, raw: bytes, symbol: str | None) -> tuple[str, bytes, str | None]:
        """Return what a dead letter shows of a line, without secrets: a server may echo a token it was sent.

        All is looked through at once; only where there is a secret, each part is redacted on its own.
        """
        line = raw.decode("latin-1")  # maps every byte to itself
        whole = "\n".join((text, line, symbol or ""))
        if self._redact(whole) == whole:
            return text, raw, symbol
        return self._redact(text), self._redact(line).encode("latin-1"), symbol and self._redact(symbol)
