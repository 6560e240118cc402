"""Encoding of timestamps in the feed's notation: the minute is cached, seconds and milliseconds are two look-ups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import NULL, PRESENT, encode_long
from bridge.serialization.timestamps import epoch_ms

if TYPE_CHECKING:
    from bridge.serialization.fast.value_encoders import ValueEncoder

#: Where seconds, milliseconds and offset start in ``2025-06-25T04:12:14.327-04:00``.
_SECONDS, _MILLISECONDS, _OFFSET = 17, 20, 23
#: Other notations have other meanings at these places (``T04:12.327`` has no seconds at all).
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:(?:Z|[+-][0-9]{2}:[0-9]{2})")

#: Numbers that ``epoch_ms`` returns unchanged, as milliseconds: 26 April 1970 to 2255.
_MIN_EPOCH_MS, _MAX_EPOCH_MS = 10**10, 9 * 10**12

_MS_OF_SECONDS = {f"{second:02d}.": second * 1000 for second in range(60)}
_MS = {f"{ms:03d}": ms for ms in range(1000)}
#: Far more than are in use at one time: the current and the last minute, in the notations of a few time zones.
_MAX_MINUTES = 256


def time_encoder() -> ValueEncoder:
    """Return an encoder of a time or null that accepts what ``epoch_ms`` accepts."""
    minutes = _MinuteCache()

    def encode(value: object) -> bytes:
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
        elif type(value) is int and _MIN_EPOCH_MS <= value <= _MAX_EPOCH_MS:
            ms = value
        else:
            ms = epoch_ms(value)
        return PRESENT + encode_long(ms)

    return encode


class _MinuteCache(dict[str, int]):
    """Milliseconds since 1970 by minute (``2025-06-25T04:12:-04:00``); KeyError for other notations."""

    __slots__ = ()

    def __missing__(self, minute: str) -> int:
        if not _MINUTE.fullmatch(minute):
            raise KeyError(minute)
        before, offset = minute[:_SECONDS], minute[_SECONDS:]
        try:
            epoch_ms(f"{before}59.999{offset}")  # if both ends of the minute are valid, all times between are
            start = epoch_ms(f"{before}00.000{offset}")
        except ValueError:
            raise KeyError(minute) from None
        if len(self) >= _MAX_MINUTES:
            self.clear()
        self[minute] = start
        return start
