"""What generated code calls and looks up: one cache for all fields with the same converter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.serialization import converters
from bridge.serialization.decimals import PRICE_SCALE
from bridge.serialization.fast import binary
from bridge.serialization.fast.time_cache import time_encoder
from bridge.serialization.fast.value_caches import TOO_LARGE, IntegerCache, TextCache, large_longs
from bridge.serialization.fast.value_encoders import (
    empty_by_default,
    nullable,
    nullable_column,
    required_column,
)
from bridge.serialization.level2_rows import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.serialization.converters import Converter
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.fast.value_encoders import ValueEncoder

#: An Avro type as JSON.
AvroType = Any

_BINARY_ENCODERS: Mapping[str, Callable[[Any], bytes]] = {
    "long": binary.encode_long,
    "bytes": binary.encode_bytes,
    "string": binary.encode_string,
    "double": binary.encode_double,
    "boolean": binary.encode_boolean,
    "map": binary.encode_map,
}
_CACHED_TYPES = frozenset({"bytes", "string", "double"})
_TIMESTAMP = "timestamp-millis"
#: The size of a cache. That of prices is larger: it holds those of some thousand symbols, in 12 MB when it is full.
_MAX_ENTRIES, _MAX_PRICES = 1 << 14, 1 << 16
#: Sizes repeat; volumes and sequence numbers, which are larger, hardly ever do.
_LARGE = 1 << 13
#: Times repeat only within a burst.
_MAX_TIMES = 1 << 10
_CONTINUATION = "\n" + 16 * " "


class CodeContext:
    """The namespace of generated code, and the caches in it.

    Values are converted by the converters that ``build_record`` uses, so the same values are rejected.
    """

    def __init__(self, decimals: DecimalEncoder, *, is_full: bool | None = None) -> None:
        self._decimals = decimals
        self._encode_time = time_encoder()
        self._converters: dict[str, Converter] = {}
        self.caches: dict[str, TextCache | IntegerCache] = {}
        self.namespace: dict[str, Any] = {
            "EMPTY": binary.EMPTY,
            "FALSE": binary.encode_boolean(False),  # noqa: FBT003 - the value to encode
            "IS_FULL": binary.NULL if is_full is None else binary.PRESENT + binary.encode_boolean(is_full),
            "MAX_ROWS": MAX_ROWS,
            "NULL": binary.NULL,
            "SMALL": binary.SMALL_LONGS,
            "SMALL_COUNT": len(binary.SMALL_LONGS),
            "TRUE": binary.encode_boolean(True),  # noqa: FBT003 - the value to encode
            "encode_cleared": binary.encode_cleared,
            "encode_long": binary.encode_long,
            "join": b"".join,
            "decimals": decimals,
        }

    def field_expression(self, declared: AvroType, convert: Converter, value: str) -> str:
        """Return the expression for an encoded field, given its Avro type and the expression for its value."""
        inner, may_be_null = branch(declared)
        name = self._name(convert)
        if inner.get("logicalType") == _TIMESTAMP:
            encode_time = self._encode_time
            return self._number_expression(name, value, (encode_time, encode_time, TOO_LARGE, _MAX_TIMES))
        encoder_of = nullable if may_be_null else empty_by_default
        encode = encoder_of(_BINARY_ENCODERS[inner["type"]], convert, self._decimals)
        if inner["type"] == "long":
            return self._number_expression(name, value, (encode, large_longs(encode), _LARGE, _MAX_ENTRIES))
        if convert is converters.quantity:  # most are whole numbers
            return self._number_expression(name, value, (encode, encode, _LARGE, _MAX_ENTRIES))
        if inner["type"] in _CACHED_TYPES:
            return self._text_expression(name, value, encode, _max_entries(inner))
        self.namespace.setdefault(name, encode)
        return f"{name}({value})"

    def column_expression(self, declared: AvroType, convert: Converter, text: str) -> str:
        """Return the expression for an encoded column of a row, given its Avro type and the expression for its text."""
        inner, may_be_null = branch(declared)
        name = f"{self._name(convert)}_{'or_null' if may_be_null else 'column'}"
        encoder_of = nullable_column if may_be_null else required_column
        encode = encoder_of(_BINARY_ENCODERS[inner["type"]], convert, self._decimals)
        return self._text_expression(name, text, encode, _max_entries(inner))

    def _number_expression(self, name: str, value: str, cached: tuple[ValueEncoder, ValueEncoder, int, int]) -> str:
        """Return the expression for a value that is an integer or a text; ``cached``: arguments of ``IntegerCache``."""
        encode, _, _, max_entries = cached
        variable = value if value.isidentifier() else "v"
        number = self._look_up(f"int_{name}", variable, lambda: IntegerCache(*cached))
        text = self._text_expression(name, variable, encode, max_entries)
        tested = value if variable == value else f"{variable} := {value}"
        return f"{number} if type({tested}) is int{_CONTINUATION}else {text}"

    def _text_expression(self, name: str, value: str, encode: ValueEncoder, max_entries: int) -> str:
        return self._look_up(name, value, lambda: TextCache(encode, self._decimals, max_entries))

    def _look_up(self, name: str, value: str, create: Callable[[], TextCache | IntegerCache]) -> str:
        """Return the expression for an encoded value in a cache, which is created if it does not exist."""
        cache = self.caches.get(name)
        if cache is None:
            cache = self.caches[name] = create()
            self.namespace |= {f"{name}_known": cache.known.get, f"{name}_new": cache.new}
        if value.isidentifier():
            return f"{name}_known({value}) or {name}_new({value})"
        return f"{name}_known(v := {value}) or {name}_new(v)"

    def _name(self, convert: Converter) -> str:
        name = convert.__name__
        if self._converters.setdefault(name, convert) is not convert:
            raise ValueError(f"two converters are named {name}: rename one")
        return name


def branch(declared: AvroType) -> tuple[Mapping[str, Any], bool]:
    """Return the type without null, as an object, and whether it may be null."""
    may_be_null = isinstance(declared, list)
    inner = declared[1] if may_be_null else declared
    return (inner if isinstance(inner, dict) else {"type": inner}), may_be_null


def _max_entries(declared: Mapping[str, Any]) -> int:
    return _MAX_PRICES if declared.get("scale") == PRICE_SCALE else _MAX_ENTRIES
