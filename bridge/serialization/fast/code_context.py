"""What the generated functions call and look up: one table for all fields that are written alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.serialization.fast import binary
from bridge.serialization.fast.time_cache import time_writer
from bridge.serialization.fast.value_caches import (
    TOO_LARGE,
    OfIntegers,
    OfTexts,
    column,
    defaulting,
    nullable,
    nullable_column,
)
from bridge.serialization.records import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.serialization.decimals import Prices
    from bridge.serialization.fast.value_caches import Write
    from bridge.serialization.records import Convert

#: An Avro type as JSON.
Type = Any

_WRITERS: Mapping[str, Callable[[Any], bytes]] = {
    "long": binary.long_bytes,
    "bytes": binary.bytes_bytes,
    "string": binary.string_bytes,
    "double": binary.double_bytes,
    "boolean": binary.boolean_bytes,
    "map": binary.map_bytes,
}
_LOOKED_UP = frozenset({"bytes", "string", "double"})
_TIMESTAMP = "timestamp-millis"
#: Parts in one table. Prices have a larger one: those of some thousand symbols at a time, in 12 MB once it is full.
_ENTRIES, _PRICES = 1 << 14, 1 << 16
_FURTHER = "\n" + 16 * " "
#: Sizes come again, volumes and sequence numbers hardly ever. Times do, but only within a burst.
_LARGE, _TIMES = 1 << 13, 1 << 10


class Tables:
    """Hold, by name, what the generated functions use.

    Values are converted as ``records.build`` does it, by the same functions: what those refuse is refused here.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._write_time = time_writer()
        self._converters: dict[str, Convert] = {}
        self.tables: dict[str, OfTexts | OfIntegers] = {}
        self.names: dict[str, Any] = {
            "EMPTY": binary.EMPTY,
            "FALSE": binary.boolean_bytes(False),  # noqa: FBT003 - the value to write
            "MOST_ROWS": MOST_ROWS,
            "MOST_SMALL": len(binary.SMALL_LONGS),
            "NULL": binary.NULL,
            "SMALL": binary.SMALL_LONGS,
            "TRUE": binary.boolean_bytes(True),  # noqa: FBT003 - the value to write
            "join": b"".join,
            "long_bytes": binary.long_bytes,
            "prices": prices,
        }

    def field(self, declared: Type, convert: Convert, value: str) -> str:
        """Return the expression for the part of a field, given the one for its value."""
        inner, may_be_null = _branch(declared)
        name = self._name(convert)
        if inner.get("logicalType") == _TIMESTAMP:
            return self._of_long(name, value, self._write_time, TOO_LARGE, _TIMES)
        branch = nullable if may_be_null else defaulting
        write = branch(_WRITERS[inner["type"]], convert, self._prices)
        if inner["type"] == "long":
            return self._of_long(name, value, write, _LARGE, _ENTRIES)
        if inner["type"] in _LOOKED_UP:
            return self._of_text(name, value, write, _entries(inner))
        self.names.setdefault(name, write)
        return f"{name}({value})"

    def column(self, declared: Type, convert: Convert, text: str) -> str:
        """Return the expression for the part of a row's column, given the one for its text."""
        inner, may_be_null = _branch(declared)
        name = f"{self._name(convert)}_{'or_null' if may_be_null else 'column'}"
        branch = nullable_column if may_be_null else column
        write = branch(_WRITERS[inner["type"]], convert, self._prices)
        return self._of_text(name, text, write, _entries(inner))

    def _of_long(self, name: str, value: str, write: Write, large: int, entries: int) -> str:
        seen = value if value.isidentifier() else "v"
        number = self._looked_up(f"int_{name}", seen, lambda: OfIntegers(write, large, entries))
        text = self._of_text(name, seen, write, entries)
        asked = value if seen == value else f"{seen} := {value}"
        return f"{number} if type({asked}) is int{_FURTHER}else {text}"

    def _of_text(self, name: str, value: str, write: Write, entries: int) -> str:
        return self._looked_up(name, value, lambda: OfTexts(write, self._prices, entries))

    def _looked_up(self, name: str, value: str, table: Callable[[], OfTexts | OfIntegers]) -> str:
        """Return the expression for a part in a table, which is made where it is not there yet."""
        made = self.tables.get(name)
        if made is None:
            made = self.tables[name] = table()
            self.names |= {f"{name}_known": made.known.get, f"{name}_new": made.new}
        if value.isidentifier():
            return f"{name}_known({value}) or {name}_new({value})"
        return f"{name}_known(v := {value}) or {name}_new(v)"

    def _name(self, convert: Convert) -> str:
        name = convert.__name__.strip("_")
        if self._converters.setdefault(name, convert) is not convert:
            raise ValueError(f"two converters are called {name}: give them names of their own")
        return name


def _branch(declared: Type) -> tuple[Mapping[str, Any], bool]:
    """Return the type without null, as an object, and whether null was there."""
    may_be_null = isinstance(declared, list)
    inner = declared[1] if may_be_null else declared
    return (inner if isinstance(inner, dict) else {"type": inner}), may_be_null


def _entries(declared: Mapping[str, Any]) -> int:
    return _PRICES if declared["type"] == "bytes" else _ENTRIES
