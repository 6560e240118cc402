"""Rate-limit repeated log messages of a library."""

from __future__ import annotations

import logging
import time
from typing import Final

INTERVAL_SECONDS: Final = 10.0


class LogThrottle(logging.Filter):
    """A filter that lets each message of a library pass once per interval, whatever its arguments are."""

    def __init__(self, library: str, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(library)
        self._interval_seconds = interval_seconds
        self._passes_again_at: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes; records of other loggers always do."""
        if not super().filter(record):
            return True
        message, now = (record.name, record.msg), time.monotonic()
        if now < self._passes_again_at.get(message, now):
            return False
        self._passes_again_at[message] = now + self._interval_seconds
        return True
