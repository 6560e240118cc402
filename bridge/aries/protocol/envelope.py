"""The newer dialect: ``{"type": …, "id"?: …, "payload": …}`` on ``/v1/market/ws``.

Marks: [D] documented for this socket, [S] documented for a sibling Aries socket, [A] assumed. A first session
against the real server corrects an assumption in the tables right below, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridge.aries.protocol.dialect import Request, batched, expires_in_seconds, text_of, update_of, usual_update
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthWanted, Event, Pong, RequestRefused
from bridge.aries.protocol.ndjson import decoder_of
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import BadLine
from bridge.market_data import EventType, JsonObject, Update, UpdateKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.aries.subscriptions import Subscription

#: ``type`` of a message.
EVENT, SUBSCRIBE = "event", "subscribe"  # [D]
UNSUBSCRIBE, ACK = "unsubscribe", "response"  # [A]
PING, PONG = "ping", "pong"  # [S]
#: ``payload.action`` of an event.
UPDATE, AUTH_ACCEPTED, ERROR = "update", "authSuccess", "error"  # [D]
#: … that asks for authentication, and in how many seconds at the latest: [D] the words, [A] shapes, [S] the 5 min.
AUTH_WANTED = {"authRequired": 0.0, "refreshAuth": 300.0, "authExpired": 0.0}
#: ``payload.type`` of an update: [D] for marketStatus, [A] for the others.
KINDS = {
    "quote": UpdateKind.QUOTE,
    "trade": UpdateKind.TRADE,
    "level2": UpdateKind.LEVEL2,
    "timeAndSales": UpdateKind.TIMESALE,
    "greeks": UpdateKind.GREEKS,
    "marketStatus": UpdateKind.MARKET_STATUS,
}
#: Which key of a symbol object asks for which records: [D]. Without the first two a server sends both kinds.
FIELD_KEYS = {
    EventType.QUOTES: "quoteFields",
    EventType.TRADES: "tradeFields",
    EventType.TIMESALES: "timeAndSalesFields",
    EventType.GREEKS: "greeksFields",
}
LEVEL2_SELECTOR = {"level2": True}  # [A]
ALL_FIELDS = "*"  # [D]
SYMBOL_TYPES = {SymbolType.EQUITY: "equity", SymbolType.OPTION: "option"}  # [D]; none is named for indices
FEED_TIME = "timestamp"  # [D] epoch milliseconds
EXPIRES_IN_PER_SECOND = 1000.0  # [A] expiresIn is in milliseconds
ERROR_TEXTS = ("error", "message")  # keys of an error's text: [D] the first, [A] the second
ACK_STATUS = "status"  # [A] where it is ERROR, the answer is a refusal


class _Payload(msgspec.Struct, gc=False, rename={"feed_time": FEED_TIME}):
    action: str
    type: str
    data: JsonObject
    feed_time: object = None


class _Message(msgspec.Struct, gc=False):
    type: str
    payload: _Payload


_decoded = decoder_of(_Message)


class Envelope:
    """Speak the newer dialect."""

    name: ClassVar[str] = "envelope"
    pong_is_documented: ClassVar[bool] = False  # [S] only
    subscriptions_add_up: ClassVar[bool] = False  # [A] a symbol's last request counts

    def auth(self, request_id: str, token: str) -> bytes:
        """Compose the authentication request [D]."""
        body = {"action": "auth", "token": token}
        payload = {"method": "post", "path": "/auth", "body": body}
        return msgspec.json.encode({"type": "request", "id": request_id, "payload": payload})

    def ping(self, request_id: str) -> bytes:
        """Compose an application ping [S]."""
        return msgspec.json.encode({"type": PING, "id": request_id})

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose subscribe requests [D]; a symbol that is subscribed already gets the new fields [A]."""
        for portion in batched(subscriptions):
            yield _request(SUBSCRIBE, next(ids), [_symbol_object(one) for one in portion], portion)

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose unsubscribe requests [A]."""
        for portion in batched(subscriptions):
            yield _request(UNSUBSCRIBE, next(ids), [{"symbol": one.symbol} for one in portion], portion)

    def read(self, message: JsonObject) -> Event:
        """Return what a message says; raise ``BadLine`` where it says nothing we know."""
        payload = message.get("payload")
        outer = message.get("type")
        if outer == EVENT and type(payload) is dict:
            if payload.get("action") == UPDATE:
                return update_of(payload, KINDS, FEED_TIME)
            return _session_event(message, payload)
        if outer == PONG:
            return Pong()
        if outer == ACK:
            return _ack(message, payload if type(payload) is dict else {})
        if outer == ERROR:
            return _refusal(message, payload if type(payload) is dict else message)
        raise BadLine("unknown_message", f"a message of type {text_of(outer, 'nothing')!r} is not known")

    def update(self, line: bytes) -> Update | None:
        """Return what ``read`` would, for the usual update."""
        message = _decoded(line)
        if message is None or message.type != EVENT or message.payload.action != UPDATE:
            return None
        payload, data = message.payload, message.payload.data
        return usual_update(KINDS.get(payload.type), data.get("symbol"), data, payload.feed_time)


def _request(word: str, request_id: str, symbols: list[JsonObject], portion: tuple[Subscription, ...]) -> Request:
    frame = msgspec.json.encode({"type": word, "id": request_id, "payload": symbols})
    return Request(request_id, frame, portion)


def _symbol_object(subscription: Subscription) -> JsonObject:
    asked: JsonObject = {"symbol": subscription.symbol}
    if subscription.type in SYMBOL_TYPES:
        asked["symbolType"] = SYMBOL_TYPES[subscription.type]
    for topic, key in FIELD_KEYS.items():
        if topic in subscription.events:
            asked[key] = subscription.fields.get(topic) or ALL_FIELDS
    if EventType.L2 in subscription.events:
        asked.update(LEVEL2_SELECTOR)
    return asked


def _session_event(message: JsonObject, payload: JsonObject) -> Event:
    action = payload.get("action")
    if action == AUTH_ACCEPTED:
        return AuthAccepted(expires_in_seconds(payload.get("data"), EXPIRES_IN_PER_SECOND))
    if action == ERROR:
        return _refusal(message, payload)
    if type(action) is str and action in AUTH_WANTED:
        return AuthWanted(AUTH_WANTED[action])
    raise BadLine("unknown_message", f"an event with action {text_of(action, 'nothing')!r} is not known")


def _ack(message: JsonObject, payload: JsonObject) -> Event:
    if ERROR in payload or payload.get(ACK_STATUS) == ERROR:
        return _refusal(message, payload)
    return Ack(_id_of(message, payload))


def _refusal(message: JsonObject, payload: JsonObject) -> RequestRefused:
    said = (payload.get(key) for key in ERROR_TEXTS)
    text = next((text for text in said if type(text) is str), None)
    return RequestRefused(_id_of(message, payload), text_of(text, "an error without a text"))


def _id_of(message: JsonObject, payload: JsonObject) -> str | None:
    """Return the correlation id: inside the payload [D], or at the top level [A]."""
    for place in (payload, message):
        request_id = place.get("id")
        if type(request_id) is str:
            return request_id
    return None
