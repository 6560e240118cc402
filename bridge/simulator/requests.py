"""The requests that a client can send, the same for both dialects, and the parsing that the dialects share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bridge.simulator.data_kinds import DataKind, SymbolClass

Json = dict[str, object]


class FieldSelection(msgspec.Struct, frozen=True):
    """The fields of one kind that a client requests (None: all), and the ``type`` of their messages."""

    update_type: str
    fields: frozenset[str] | None = None

    def apply(self, fields: Json) -> Json:
        """Return only the selected fields."""
        if self.fields is None:
            return fields
        return {name: value for name, value in fields.items() if name in self.fields}


class SymbolRequest(msgspec.Struct, frozen=True):
    """The kinds of data wanted for one symbol.

    ``symbol_class`` is the class that the client states, if it does. With ``replaces`` the kinds replace those
    of an earlier request, else they are added to them.
    """

    symbol: str
    kinds: dict[DataKind, FieldSelection]
    symbol_class: SymbolClass | None = None
    replaces: bool = False


class Authenticate(msgspec.Struct, frozen=True):
    """An authentication request."""

    token: str
    api_key: str | None
    request_id: str | None

    def __repr__(self) -> str:
        return f"Authenticate(request_id={self.request_id!r})"


class Subscribe(msgspec.Struct, frozen=True):
    """A subscription request."""

    items: tuple[SymbolRequest, ...]
    request_id: str | None


class Unsubscribe(msgspec.Struct, frozen=True):
    """A request to end subscriptions: symbols with the kinds to end, None for all kinds of the symbol."""

    items: tuple[tuple[str, frozenset[DataKind] | None], ...]
    request_id: str | None


class Ping(msgspec.Struct, frozen=True):
    """An application ping."""

    request_id: str | None


class Pong(msgspec.Struct, frozen=True):
    """The answer to an application ping of the server."""

    request_id: object


class InvalidRequest(msgspec.Struct, frozen=True):
    """A message that is not a valid request, and the reason."""

    action: str
    problem: str
    request_id: str | None


Request = Authenticate | Subscribe | Unsubscribe | Ping | Pong | InvalidRequest


class ReceivedRequest(msgspec.Struct, frozen=True):
    """A request as parsed and as received; the latter can contain a token and is not part of the representation."""

    session: int
    request: Request
    document: object

    def __repr__(self) -> str:
        return f"ReceivedRequest(session={self.session}, request={self.request!r})"


def string_or_none(value: object) -> str | None:
    """Return a string unchanged, and None for anything else."""
    return value if isinstance(value, str) else None


def parse_token(container: object) -> str | None:
    """Return the token in an authentication object, or None if there is none."""
    return string_or_none(container.get("token")) or None if isinstance(container, dict) else None


def parse_symbol_objects(value: object, key: str) -> list[tuple[str, Json]]:
    """Return each symbol with its object. Raise ``ValueError`` if the value of this key is no list of such objects."""
    if not isinstance(value, list):
        raise ValueError(f"{key} must be an array of symbol objects")  # noqa: TRY004 - invalid JSON, not a wrong call
    return [(_parse_symbol(item), item) for item in value]


def parse_field_list(value: object) -> frozenset[str] | None:
    """Parse ``"*"``, one name, comma-separated names, or an array of names; None means all fields."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a field list must be a string or an array of strings")
    names = frozenset(name.strip() for name in value)
    return None if "*" in names else names


def _parse_symbol(item: object) -> str:
    symbol = item.get("symbol") if isinstance(item, dict) else None
    if not isinstance(symbol, str) or not symbol:
        raise ValueError("each symbol object needs a symbol")
    return symbol
