"""Encoders of a field's value: the converter of the reference implementation, then Avro binary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.serialization.fast.binary import EMPTY, NULL, PRESENT

if TYPE_CHECKING:
    from bridge.serialization.converters import Converter
    from bridge.serialization.decimals import DecimalEncoder

#: Returns the encoded value; raises ValueError if the value does not fit its field.
ValueEncoder = Callable[[object], bytes]


def nullable(encode: Callable[[Any], bytes], convert: Converter, decimals: DecimalEncoder) -> ValueEncoder:
    """Return an encoder of a union of null and another type, in this order."""
    return lambda value: NULL if value is None else PRESENT + encode(convert(value, decimals))


def empty_by_default(encode: Callable[[Any], bytes], convert: Converter, decimals: DecimalEncoder) -> ValueEncoder:
    """Return an encoder of a map that is empty, as its schema's default is, if the value is null."""
    return lambda value: EMPTY if value is None else encode(convert(value, decimals))


def nullable_column(encode: Callable[[Any], bytes], convert: Converter, decimals: DecimalEncoder) -> ValueEncoder:
    """Return an encoder of a row's column that is null if the text is empty."""
    return lambda text: PRESENT + encode(convert(text, decimals)) if text else NULL


def required_column(encode: Callable[[Any], bytes], convert: Converter, decimals: DecimalEncoder) -> ValueEncoder:
    """Return an encoder of a row's column that raises ValueError if the text is empty."""

    def encode_column(text: object) -> bytes:
        if not text:
            raise ValueError("a value")
        return encode(convert(text, decimals))

    return encode_column
