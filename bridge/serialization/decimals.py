"""Decimal text to the bytes of an Avro decimal, exactly and without ``decimal.Decimal``."""

from __future__ import annotations

import re

PRECISION = 18
#: Decimal places of a price, and of a quantity (a size or volume that may be a fraction of a share).
PRICE_SCALE, QUANTITY_SCALE = 9, 6

_LIMIT = 10**PRECISION
_PRICE_EXPECTED = "a decimal number above -10^9 and below 10^9"
_QUANTITY_EXPECTED = "a decimal number of 0 or more and below 10^12"
_WHOLE_EXPECTED = "a whole number of at most 64 bits"
_WHOLE_DIGITS = 19  # of 2^63 - 1
_WHOLE_BITS = 63
_SIGN = 1 << 7  # of the first byte in two's complement

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)([0-9]+))?")
#: The factor that scales the digits of a plain number, by the decimal places that are still missing.
_SCALE_FACTORS = tuple(10**places for places in range(PRICE_SCALE + 1))
#: A longer exponent has the same effect as 10^12: it moves the point out of any text that fits into memory.
_MAX_EXPONENT_DIGITS = 12


class DecimalEncoder:
    """An encoder of prices and quantities that counts how many it had to round (``rounded``).

    It returns the two's complement, big-endian and as short as possible, of the number times 10^scale: that is the
    representation of an Avro decimal (Avro 1.12 specification, logical type decimal). A number with more decimal
    places than the scale is rounded half-even and counted.
    """

    __slots__ = ("rounded",)

    def __init__(self) -> None:
        self.rounded = 0

    def price(self, value: object) -> bytes:
        """Encode a text or int as ``decimal(18, 9)``.

        Raise ValueError, naming the limit, for other types and texts, and for a magnitude of 10^9 or more.
        """
        return self._encode(value, PRICE_SCALE, _PRICE_EXPECTED)

    def quantity(self, value: object) -> bytes:
        """Encode a text or int as ``decimal(18, 6)``.

        Raise ValueError, naming the limits, for other types and texts, below 0, and for 10^12 or more.
        """
        data = self._encode(value, QUANTITY_SCALE, _QUANTITY_EXPECTED)
        if is_negative(data):
            raise ValueError(_QUANTITY_EXPECTED)
        return data

    def _encode(self, value: object, scale: int, expected: str) -> bytes:
        if type(value) is str:
            unscaled, exact = _parse_plain(value, scale) or _parse(value, scale, PRECISION, expected)
        elif type(value) is int:
            unscaled, exact = value * _SCALE_FACTORS[scale], True
        else:
            raise ValueError(expected)
        if not -_LIMIT < unscaled < _LIMIT:
            raise ValueError(expected)
        if not exact:
            self.rounded += 1
        bits = (unscaled + (unscaled < 0)).bit_length()  # without the sign
        return unscaled.to_bytes(bits // 8 + 1, "big", signed=True)


def is_negative(data: bytes) -> bool:
    """Return whether an encoded decimal is below 0."""
    return data[0] >= _SIGN


def whole_number(value: object) -> int:
    """Return an int, or a text such as ``100``, ``100.0`` or ``1e2``, as an int.

    Raise ValueError for other types and texts, for a fraction, and for more than 64 bits.
    """
    if type(value) is int:
        number = value
    elif type(value) is str:
        number, exact = _parse(value, 0, _WHOLE_DIGITS, _WHOLE_EXPECTED)
        if not exact:
            raise ValueError(_WHOLE_EXPECTED)
    else:
        raise ValueError(_WHOLE_EXPECTED)
    if number >> _WHOLE_BITS not in (0, -1):
        raise ValueError(_WHOLE_EXPECTED)
    return number


def _parse_plain(text: str, scale: int) -> tuple[int, bool] | None:
    """Return the same as ``_parse`` for the notation of nearly every number (``-101.25``), None for any other."""
    magnitude = text.removeprefix("-")
    whole, _, fraction = magnitude.partition(".")
    digits = whole + fraction
    if len(fraction) > scale or len(digits) > PRECISION or not (digits.isdigit() and digits.isascii()):
        return None
    unscaled = int(digits) * _SCALE_FACTORS[scale - len(fraction)]
    return (-unscaled if text.startswith("-") else unscaled), True


def _parse(text: str, places: int, max_digits: int, expected: str) -> tuple[int, bool]:
    """Return the text's value times 10^places, rounded half-even, and whether that is exact.

    Time and memory are linear in the text's length, whatever its exponent.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(expected)
    sign, whole, fraction, exponent_sign, exponent = match.groups(default="")
    if not (whole or fraction):
        raise ValueError(expected)
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0, True
    # How many of the digits are before the decimal point of the scaled value.
    kept = len(digits) - len(fraction) + places + _exponent(exponent_sign, exponent)
    if kept > max_digits:
        raise ValueError(expected)
    magnitude, exact = _round_half_even(digits, kept)
    return (-magnitude if sign == "-" else magnitude), exact


def _exponent(sign: str, digits: str) -> int:
    digits = digits.lstrip("0")
    size = int(digits or 0) if len(digits) <= _MAX_EXPONENT_DIGITS else 10**_MAX_EXPONENT_DIGITS
    return -size if sign == "-" else size


def _round_half_even(digits: str, kept: int) -> tuple[int, bool]:
    if kept >= len(digits):
        return int(digits) * 10 ** (kept - len(digits)), True
    if kept < 0:
        return 0, False
    number = int(digits[:kept] or 0)
    rest = digits[kept:].rstrip("0")
    if rest > "5" or (rest == "5" and number % 2):
        return number + 1, not rest
    return number, not rest
