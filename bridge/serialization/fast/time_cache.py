"""Times as the feed writes them, fast: the minute is remembered, the rest is two look-ups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import NULL, PRESENT, long_bytes
from bridge.serialization.timestamps import epoch_ms

if TYPE_CHECKING:
    from bridge.serialization.fast.value_caches import Write

#: Where seconds and milliseconds stand in ``2025-06-25T04:12:14.327-04:00``.
_SECONDS, _MILLISECONDS, _OFFSET = 17, 20, 23
#: Other notations have other meanings at these places (``T04:12.327`` has no seconds at all).
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:(?:Z|[+-][0-9]{2}:[0-9]{2})")

#: Numbers that ``epoch_ms`` takes for milliseconds, as they are: 26 April 1970 to 2255.
_FIRST_PLAIN_MS, _LAST_PLAIN_MS = 10**10, 9 * 10**12

_MS_OF_SECONDS = {f"{second:02d}.": second * 1000 for second in range(60)}
_MS = {f"{ms:03d}": ms for ms in range(1000)}
#: Minutes in use at a time: this one, the last, in the notations of a few time zones.
_MINUTES = 256


def time_writer() -> Write:
    """Return a function that writes a time or null, converted as ``epoch_ms`` does it."""
    minutes = _Minutes()

    def write(value: object) -> bytes:
        if value is None:
            return NULL
        if type(value) is str:
            try:
                ms = (
                    minutes[value[:_SECONDS] + value[_OFFSET:]]
                    + _MS_OF_SECONDS[value[_SECONDS:_MILLISECONDS]]
                    + _MS[value[_MILLISECONDS:_OFFSET]]
                )
            except KeyError:
                ms = epoch_ms(value)
        elif type(value) is int and _FIRST_PLAIN_MS <= value <= _LAST_PLAIN_MS:
            ms = value
        else:
            ms = epoch_ms(value)
        return PRESENT + long_bytes(ms)

    return write


class _Minutes(dict[str, int]):
    """Give the milliseconds since 1970 of a minute (``2025-06-25T04:12:-04:00``); KeyError where it is not plain."""

    __slots__ = ()

    def __missing__(self, minute: str) -> int:
        if not _MINUTE.fullmatch(minute):
            raise KeyError(minute)
        before, offset = minute[:_SECONDS], minute[_SECONDS:]
        try:
            epoch_ms(f"{before}59.999{offset}")  # what is a time at both ends is one all through
            start = epoch_ms(f"{before}00.000{offset}")
        except ValueError:
            raise KeyError(minute) from None
        if len(self) >= _MINUTES:
            self.clear()
        self[minute] = start
        return start
