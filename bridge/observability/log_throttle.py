"""A library that says the same again and again says it once in a while, so that other log lines can be seen."""

from __future__ import annotations

import logging
import time
from typing import Final

QUIET_SECONDS: Final = 10.0


class LogThrottle(logging.Filter):
    """Let each message of a library pass once in so many seconds, whatever its details are."""

    def __init__(self, library: str, quiet_seconds: float = QUIET_SECONDS) -> None:
        super().__init__(library)
        self._quiet_seconds = quiet_seconds
        self._silent_until: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record passes; those of others always do."""
        if not super().filter(record):
            return True
        message, now = (record.name, record.msg), time.monotonic()
        if now < self._silent_until.get(message, now):
            return False
        self._silent_until[message] = now + self._quiet_seconds
        return True
