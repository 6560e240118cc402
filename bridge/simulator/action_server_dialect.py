"""The older dialect, server side: ``{"action": …, "type": …, "data": …}``."""

# ruff: noqa: ARG002 - the dialects share their interface, and this one has neither request ids nor timestamps

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.simulator.data_kinds import FIELDS_OF, KINDS_OF, DataKind, SymbolClass, symbol_class
from bridge.simulator.requests import (
    Authenticate,
    FieldSelection,
    InvalidRequest,
    Json,
    Ping,
    Pong,
    Request,
    Subscribe,
    SymbolRequest,
    Unsubscribe,
    parse_field_list,
    parse_symbol_objects,
    parse_token,
    string_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.simulator.server_dialect import AuthNotice, PriceStyle

#: Kinds that can be sent together in one flat object.
_COMPOSITE_KINDS = (DataKind.QUOTE, DataKind.TRADE, DataKind.GREEKS)
_CLASS_OF = {"equityComposite": SymbolClass.EQUITY, "optionComposite": SymbolClass.OPTION}


@dataclass(frozen=True, kw_only=True)
class ActionServerDialect:
    """The action dialect, an implementation of ``ServerDialect``.

    Its attributes are what no vendor page documents, so that other guesses can be tried.
    """

    name: str = "action"
    prices: PriceStyle = "string"
    #: The kinds of each subscription type if all fields are requested; only ``equityComposite`` is documented.
    types: Mapping[str, frozenset[DataKind]] = field(
        default_factory=lambda: {
            "equityComposite": frozenset({DataKind.QUOTE, DataKind.TRADE}),
            "optionComposite": frozenset({DataKind.QUOTE, DataKind.TRADE}),
            "timeAndSales": frozenset({DataKind.TIME_AND_SALES}),
            "level2": frozenset({DataKind.LEVEL2}),
            "greeks": frozenset({DataKind.GREEKS}),
        }
    )
    #: Whether the ``action`` of an error is the request's action, or ``error``.
    errors_name_the_action: bool = False

    def parse_request(self, document: object) -> Request:
        if not isinstance(document, dict):
            return InvalidRequest("message", "a message must be a JSON object", None)
        action = document.get("action")
        try:
            match action:
                case "auth":
                    return _parse_auth(document)
                case "ping":
                    return Pong(document.get("id")) if document.get("message") == "pong" else Ping(None)
                case "subscribe":
                    return self._parse_subscribe(document)
                case "unsubscribe":
                    return self._parse_unsubscribe(document)
        except ValueError as error:
            return InvalidRequest(str(action), str(error), None)
        return InvalidRequest("message", f"unknown action: {action!r}", None)

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        return {"action": "auth", "message": "success"}

    def auth_rejected(self, request_id: str | None, error: str, now_ms: int) -> Json:
        return {"action": "auth", "message": error}

    def auth_notice(self, notice: AuthNotice, now_ms: int) -> Json:
        return {"action": notice.value}

    def ack(self, action: str, request_id: str | None) -> Json:
        return {"action": action, "message": "success"}

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:
        return {"action": action if self.errors_name_the_action else "error", "message": error}

    def pong(self, request_id: str | None) -> Json:
        return {"action": "ping", "message": "pong"}

    def ping(self, request_id: object) -> Json:
        return {"action": "ping"} if request_id is None else {"action": "ping", "id": request_id}

    def market_status(self, status: Json, now_ms: int) -> Json:
        return {"action": "publish", "type": "marketStatus", "data": status}

    def update(self, update_type: str, symbol: str, fields: Json, now_ms: int) -> Json:
        return {"type": update_type, "data": {"symbol": symbol, **fields}}

    def _parse_subscribe(self, document: Json) -> Subscribe:
        update_type = self._parse_type(document)
        objects = parse_symbol_objects(document.get("data"), "data")
        return Subscribe(tuple(self._symbol_request(update_type, *item) for item in objects), None)

    def _parse_unsubscribe(self, document: Json) -> Unsubscribe:
        kinds = self.types[self._parse_type(document)]
        objects = parse_symbol_objects(document.get("data"), "data")
        return Unsubscribe(tuple((symbol, kinds) for symbol, _ in objects), None)

    def _parse_type(self, document: Json) -> str:
        update_type = document.get("type")
        if not isinstance(update_type, str) or update_type not in self.types:
            raise ValueError(f"unknown type: {update_type!r}")
        return update_type

    def _symbol_request(self, update_type: str, symbol: str, item: Json) -> SymbolRequest:
        fields = parse_field_list(item.get("fields", "*"))
        kinds = self._requested_kinds(update_type, fields) & KINDS_OF[symbol_class(symbol)]
        selections = {kind: FieldSelection(update_type, fields) for kind in DataKind if kind in kinds}
        return SymbolRequest(symbol, selections, _CLASS_OF.get(update_type))

    def _requested_kinds(self, update_type: str, fields: frozenset[str] | None) -> frozenset[DataKind]:
        """Return the kinds of a subscription type; those of a composite follow from the requested fields."""
        if fields is None or update_type not in _CLASS_OF:
            return self.types[update_type]
        return frozenset(kind for kind in _COMPOSITE_KINDS if FIELDS_OF[kind] & fields)


def _parse_auth(document: Json) -> Authenticate:
    token = parse_token(document)
    if token is None:
        raise ValueError("token is required")
    return Authenticate(token, string_or_none(document.get("xAPIKey")), None)
