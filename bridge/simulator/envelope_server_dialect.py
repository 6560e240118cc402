"""The newer dialect, server side: ``{"type": …, "id": …, "payload": …}``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

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

_FIELD_LIST_KEYS: Final = {
    DataKind.QUOTE: "quoteFields",
    DataKind.TRADE: "tradeFields",
    DataKind.TIME_AND_SALES: "timeAndSalesFields",
    DataKind.GREEKS: "greeksFields",
}


@dataclass(frozen=True, kw_only=True)
class EnvelopeServerDialect:
    """The envelope dialect, an implementation of ``ServerDialect``.

    Its attributes are what no vendor page documents, so that other guesses can be tried.
    """

    name: str = "envelope"
    prices: PriceStyle = "number"
    #: The update type of each kind.
    update_types: Mapping[DataKind, str] = field(default_factory=lambda: {kind: kind.value for kind in DataKind})
    #: The key of a symbol object that requests level 2.
    level2_key: str = "level2"
    #: Where an event holds the id of its request.
    id_place: Literal["payload", "top", "nowhere"] = "payload"
    #: Whether an update's symbol is in ``data`` or next to it.
    symbol_place: Literal["data", "payload"] = "data"
    #: The unit of ``expiresIn``, as units per second; 0 omits the field.
    expiry_units_per_second: int = 1000

    def parse_request(self, document: object) -> Request:
        if not isinstance(document, dict):
            return InvalidRequest("message", "a message must be a JSON object", None)
        message_type, payload = document.get("type"), document.get("payload")
        request_id = string_or_none(document.get("id"))
        try:
            match message_type:
                case "ping":
                    return Ping(request_id)
                case "pong":
                    return Pong(document.get("id"))
                case "request":
                    return _parse_auth(payload, request_id)
                case "subscribe":
                    objects = parse_symbol_objects(payload, "payload")
                    return Subscribe(tuple(self._symbol_request(*item) for item in objects), request_id)
                case "unsubscribe":
                    objects = parse_symbol_objects(payload, "payload")
                    return Unsubscribe(tuple((symbol, None) for symbol, _ in objects), request_id)
        except ValueError as error:
            return InvalidRequest(str(message_type), str(error), request_id)
        return InvalidRequest("message", f"unknown type: {message_type!r}", request_id)

    def auth_accepted(self, request_id: str | None, expires_in_seconds: float, now_ms: int) -> Json:
        units = round(expires_in_seconds * self.expiry_units_per_second)
        payload: Json = {"action": "authSuccess", "data": {"expiresIn": units} if units else {}}
        return self._event(payload, request_id, now_ms)

    def auth_rejected(self, request_id: str | None, error: str, now_ms: int) -> Json:
        return self.error("auth", error, request_id, now_ms)

    def auth_notice(self, notice: AuthNotice, now_ms: int) -> Json:
        return self._event({"action": notice.value}, None, now_ms)

    def ack(self, action: str, request_id: str | None) -> Json:
        return {"type": "response", "id": request_id, "payload": {"action": action, "status": "success"}}

    def error(self, action: str, error: str, request_id: str | None, now_ms: int) -> Json:  # noqa: ARG002 - has the id
        return self._event({"action": "error", "error": error}, request_id, now_ms)

    def pong(self, request_id: str | None) -> Json:
        return {"type": "pong"} if request_id is None else {"type": "pong", "id": request_id}

    def ping(self, request_id: object) -> Json:
        return {"type": "ping"} if request_id is None else {"type": "ping", "id": request_id}

    def market_status(self, status: Json, now_ms: int) -> Json:
        return self._event({"action": "update", "type": "marketStatus", "data": status}, None, now_ms)

    def update(self, update_type: str, symbol: str, fields: Json, now_ms: int) -> Json:
        payload: Json
        if self.symbol_place == "data":
            payload = {"action": "update", "type": update_type, "data": {"symbol": symbol, **fields}}
        else:
            payload = {"action": "update", "type": update_type, "symbol": symbol, "data": fields}
        return self._event(payload, None, now_ms)

    def _event(self, payload: Json, request_id: str | None, now_ms: int) -> Json:
        event: Json = {"type": "event", "payload": payload}
        if request_id is not None and self.id_place == "payload":
            payload["id"] = request_id
        if request_id is not None and self.id_place == "top":
            event["id"] = request_id
        payload["timestamp"] = now_ms
        return event

    def _symbol_request(self, symbol: str, item: Json) -> SymbolRequest:
        stated_class = item.get("symbolType", "equity")
        if stated_class not in ("equity", "option"):
            raise ValueError(f"{symbol}: unknown symbolType: {stated_class!r}")
        if "greeksFields" in item and stated_class != "option":
            raise ValueError(f'{symbol}: greeksFields needs symbolType "option"')
        available = KINDS_OF[symbol_class(symbol)]
        kinds = {kind: selection for kind, selection in self._selections(item).items() if kind in available}
        return SymbolRequest(symbol, kinds, SymbolClass(stated_class), replaces=True)

    def _selections(self, item: Json) -> dict[DataKind, FieldSelection]:
        field_lists = {kind: item[key] for kind, key in _FIELD_LIST_KEYS.items() if key in item}
        if DataKind.QUOTE not in field_lists and DataKind.TRADE not in field_lists:
            # ``fields`` is the old name for both; if it is absent too, all fields of both are wanted.
            field_lists[DataKind.QUOTE] = field_lists[DataKind.TRADE] = item.get("fields", "*")
        if item.get(self.level2_key) is True:
            field_lists[DataKind.LEVEL2] = "*"
        parsed = ((kind, parse_field_list(value)) for kind, value in field_lists.items())
        return {
            kind: FieldSelection(self.update_types[kind], fields)
            for kind, fields in parsed
            if fields is None or fields & FIELDS_OF[kind]
        }


def _parse_auth(payload: object, request_id: str | None) -> Authenticate | InvalidRequest:
    if not isinstance(payload, dict) or payload.get("path") != "/auth":
        raise ValueError("unknown path")
    token = parse_token(payload.get("body"))
    if token is None:
        return InvalidRequest("auth", "token is required", request_id)
    return Authenticate(token, None, request_id)
