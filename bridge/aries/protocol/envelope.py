"""The newer dialect: ``{"type": …, "id"?: …, "payload": …}`` on ``/v1/market/ws``.

Marks: [D] documented for this socket, [S] documented for a sibling Aries socket, [A] assumed. A first session
against the real server corrects an assumption in the tables right below, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridge.aries.protocol.dialect import (
    Request,
    batched,
    expires_in_seconds,
    ping_id,
    symbol_update,
    text_of,
    update_of,
)
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthRequired, Message, Ping, Pong, RequestRejected
from bridge.aries.protocol.ndjson import ALWAYS_SHALLOW_BYTES, UNREADABLE, line_decoder, may_be_deep
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import BadLine
from bridge.market_data import EventType, JsonObject, Update, UpdateKind, UpdateShape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.aries.subscriptions import Subscription

#: ``type`` of a message
EVENT, SUBSCRIBE = "event", "subscribe"  # [D]
UNSUBSCRIBE, ACK = "unsubscribe", "response"  # [A]
PING, PONG = "ping", "pong"  # [S] sent by a client and by the server; [A] also in the other direction
#: ``payload.action`` of an event
UPDATE, AUTH_ACCEPTED, ERROR = "update", "authSuccess", "error"  # [D]
#: ``payload.action`` of an event that requires authentication, and within how many seconds: [D] the actions,
#: [A] their shapes, [S] the 5 minutes.
AUTH_REQUIRED = {"authRequired": 0.0, "refreshAuth": 300.0, "authExpired": 0.0}
#: ``payload.type`` of an update: [D] for marketStatus, [A] for the others.
KINDS = {
    "quote": UpdateKind.QUOTE,
    "trade": UpdateKind.TRADE,
    "level2": UpdateKind.LEVEL2,
    "timeAndSales": UpdateKind.TIMESALE,
    "greeks": UpdateKind.GREEKS,
    "marketStatus": UpdateKind.MARKET_STATUS,
}
#: Key of a symbol object that selects the fields of an event type: [D]. Without the first two a server sends quotes
#: and trades.
FIELD_KEYS = {
    EventType.QUOTES: "quoteFields",
    EventType.TRADES: "tradeFields",
    EventType.TIMESALES: "timeAndSalesFields",
    EventType.GREEKS: "greeksFields",
}
LEVEL2_SELECTOR = {"level2": True}  # [A]
ALL_FIELDS = "*"  # [D]
SYMBOL_TYPES = {SymbolType.EQUITY: "equity", SymbolType.OPTION: "option"}  # [D]; no type is documented for indices
FEED_TIME = "timestamp"  # [D] epoch milliseconds
EXPIRES_IN_PER_SECOND = 1000.0  # [A] milliseconds
TEXT_KEYS = ("error", "message")  # of an error's text: [D] the first, [A] the second
ACK_STATUS = "status"  # [A] key of an answer's payload; the value ERROR is a rejection


class _Payload(msgspec.Struct, gc=False, rename={"feed_time": FEED_TIME}):
    action: str
    type: str
    data: JsonObject
    feed_time: object = None


class _UpdateMessage(msgspec.Struct, gc=False):
    type: str
    payload: _Payload


_decode = line_decoder(_UpdateMessage)


class Envelope:
    """The newer dialect."""

    name: ClassVar[str] = "envelope"
    pong_is_documented: ClassVar[bool] = False  # [S] only
    subscriptions_add_up: ClassVar[bool] = False  # [A] a symbol's last request replaces the ones before
    update_shape: ClassVar[UpdateShape] = UpdateShape(
        KINDS, FEED_TIME, holder="payload", words={"type": (EVENT,)}, update_words={"action": (UPDATE,)}
    )

    def auth(self, request_id: str, token: str) -> bytes:
        """Compose an authentication request [D]."""
        body = {"action": "auth", "token": token}
        payload = {"method": "post", "path": "/auth", "body": body}
        return msgspec.json.encode({"type": "request", "id": request_id, "payload": payload})

    def ping(self, request_id: str) -> bytes:
        """Compose an application ping [S]."""
        return msgspec.json.encode({"type": PING, "id": request_id})

    def pong(self, request_id: str | int | None) -> bytes:
        """Compose the answer to a ping of the server [A]."""
        return msgspec.json.encode({"type": PONG} | ({} if request_id is None else {"id": request_id}))

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose subscribe requests [D]; the fields of a symbol that is subscribed already are replaced [A]."""
        for batch in batched(subscriptions):
            yield _request(SUBSCRIBE, next(ids), [_symbol_object(one) for one in batch], batch)

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose unsubscribe requests [A]."""
        for batch in batched(subscriptions):
            yield _request(UNSUBSCRIBE, next(ids), [{"symbol": one.symbol} for one in batch], batch)

    def read(self, message: JsonObject) -> Message:
        """Return the typed message; raise ``BadLine`` if it is not known."""
        payload = message.get("payload")
        outer = message.get("type")
        if outer == EVENT and type(payload) is dict:
            if payload.get("action") == UPDATE:
                return update_of(payload, KINDS, FEED_TIME)
            return _session_event(message, payload)
        if outer == PONG:
            return Pong()
        if outer == PING:
            return Ping(ping_id(message.get("id")))
        if outer == ACK:
            return _ack(message, payload if type(payload) is dict else {})
        if outer == ERROR:
            return _rejection(message, payload if type(payload) is dict else message)
        raise BadLine("unknown_message", f"a message of unknown type {text_of(outer, 'none')!r}")

    def decode_update(self, line: bytes) -> Update | None:
        """Return what ``read`` would for an update about a symbol, and None for any other line."""
        if len(line) > ALWAYS_SHALLOW_BYTES and may_be_deep(line):
            return None
        try:
            message = _decode(line)
        except UNREADABLE:
            return None
        payload = message.payload
        if message.type != EVENT or payload.action != UPDATE:
            return None
        data = payload.data
        return symbol_update(KINDS.get(payload.type), data.get("symbol"), data, payload.feed_time)


def _request(method: str, request_id: str, symbols: list[JsonObject], batch: tuple[Subscription, ...]) -> Request:
    frame = msgspec.json.encode({"type": method, "id": request_id, "payload": symbols})
    return Request(request_id, frame, batch)


def _symbol_object(subscription: Subscription) -> JsonObject:
    selected: JsonObject = {"symbol": subscription.symbol}
    if subscription.type in SYMBOL_TYPES:
        selected["symbolType"] = SYMBOL_TYPES[subscription.type]
    for event, key in FIELD_KEYS.items():
        if event in subscription.events:
            selected[key] = subscription.fields.get(event) or ALL_FIELDS
    if EventType.L2 in subscription.events:
        selected.update(LEVEL2_SELECTOR)
    return selected


def _session_event(message: JsonObject, payload: JsonObject) -> Message:
    action = payload.get("action")
    if action == AUTH_ACCEPTED:
        return AuthAccepted(expires_in_seconds(payload.get("data"), EXPIRES_IN_PER_SECOND))
    if action == ERROR:
        return _rejection(message, payload)
    if action == PING:
        return Ping(ping_id(payload.get("id", message.get("id"))))
    if type(action) is str and action in AUTH_REQUIRED:
        return AuthRequired(AUTH_REQUIRED[action])
    raise BadLine("unknown_message", f"an event with unknown action {text_of(action, 'none')!r}")


def _ack(message: JsonObject, payload: JsonObject) -> Message:
    if ERROR in payload or payload.get(ACK_STATUS) == ERROR:
        return _rejection(message, payload)
    return Ack(_id_of(message, payload))


def _rejection(message: JsonObject, payload: JsonObject) -> RequestRejected:
    texts = (payload.get(key) for key in TEXT_KEYS)
    text = next((text for text in texts if type(text) is str), None)
    return RequestRejected(_id_of(message, payload), text_of(text, "an error without a text"))


def _id_of(message: JsonObject, payload: JsonObject) -> str | None:
    """Return the correlation id: inside the payload [D], or at the top level [A]."""
    for holder in (payload, message):
        request_id = holder.get("id")
        if type(request_id) is str:
            return request_id
    return None
