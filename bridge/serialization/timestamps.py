"""Timestamps of the feed (ISO-8601 text, epoch numbers) to milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_EXPECTED = "an ISO-8601 time with Z or an offset, or an epoch number in s, ms, µs or ns, of the years 1970 to 2262"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: The last millisecond whose nanoseconds since 1970 fit into 64 bits (April 2262).
_MAX_MS = (2**63 - 1) // 10**6
_MAX_EPOCH_DIGITS = 19
_MAX_CHARACTERS = 64
#: An epoch number with a fraction or an exponent.
_EPOCH_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]{1,2})?")

# The magnitude of an epoch number tells its unit: seconds from 1970 on, the finer units from April 1970 on.
_SECONDS_BELOW = 10**10
_MS_BELOW = 10**13
_US_BELOW = 10**16


def epoch_ms(value: object) -> int:
    """Return a time as milliseconds since 1970-01-01 UTC; finer digits are cut off.

    Raise ValueError for anything but a time, for times outside the years 1970 to 2262, for the epoch itself, which
    means "no time", and for a time without an offset: New York and UTC are hours apart, so it is rejected instead of
    guessed.
    """
    if type(value) is str:
        milliseconds = _from_text(value)
    elif type(value) is int:
        milliseconds = _from_number(value)
    else:
        raise ValueError(_EXPECTED)
    if not 0 < milliseconds <= _MAX_MS:
        raise ValueError(_EXPECTED)
    return milliseconds


def _from_text(text: str) -> int:
    if text.isdigit() and text.isascii() and len(text) <= _MAX_EPOCH_DIGITS:
        return _from_number(int(text))
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(_EXPECTED)
    if _EPOCH_NUMBER.fullmatch(text):
        number = Decimal(text)
        if number.adjusted() >= _MAX_EPOCH_DIGITS:
            raise ValueError(_EXPECTED)
        return int(_in_ms(number))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if time.tzinfo is None:
        raise ValueError(_EXPECTED)
    return (time - _EPOCH) // _MILLISECOND


def _from_number(number: int) -> int:
    if number < _SECONDS_BELOW:
        return number * 1000
    if number < _MS_BELOW:
        return number
    if number < _US_BELOW:
        return number // 1000
    return number // 10**6


def _in_ms(number: Decimal) -> Decimal:
    if number < _SECONDS_BELOW:
        return number.scaleb(3)
    if number < _MS_BELOW:
        return number
    return number.scaleb(-3 if number < _US_BELOW else -6)
