"""What a client can ask, the same for both dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bridge.simulator.fields import Kind, SymbolClass

Json = dict[str, object]


class Wanted(msgspec.Struct, frozen=True):
    """Say which fields of a kind a client wants (None: all), and by which word it asked for them."""

    word: str
    fields: frozenset[str] | None = None


class SymbolRequest(msgspec.Struct, frozen=True):
    """Ask for kinds of one symbol; ``symbol_class`` is what the client takes the symbol for, if it says."""

    symbol: str
    kinds: dict[Kind, Wanted]
    symbol_class: SymbolClass | None = None
    replaces: bool = False


class Authenticate(msgspec.Struct, frozen=True):
    """Present a token."""

    token: str
    api_key: str | None
    request_id: str | None

    def __repr__(self) -> str:
        return f"Authenticate(request_id={self.request_id!r})"


class Subscribe(msgspec.Struct, frozen=True):
    """Ask for some symbols."""

    items: tuple[SymbolRequest, ...]
    request_id: str | None


class Unsubscribe(msgspec.Struct, frozen=True):
    """Ask for no more of some symbols; no kinds means all of a symbol's."""

    items: tuple[tuple[str, frozenset[Kind] | None], ...]
    request_id: str | None


class Ping(msgspec.Struct, frozen=True):
    """Ask for a sign of life."""

    request_id: str | None


class Unreadable(msgspec.Struct, frozen=True):
    """Say why something a client sent makes no request."""

    action: str
    problem: str
    request_id: str | None


Request = Authenticate | Subscribe | Unsubscribe | Ping | Unreadable


def word_or_none(value: object) -> str | None:
    """Return a string as it is and anything else as nothing."""
    return value if isinstance(value, str) else None


def field_choice(value: object) -> frozenset[str] | None:
    """Read a field list: ``"*"``, one name, names with commas between, or an array of these; None means all."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a field list must be a string or an array of strings")
    names = frozenset(name.strip() for name in value)
    return None if "*" in names else names
