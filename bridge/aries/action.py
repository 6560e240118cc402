"""The older dialect: ``{"action": …, "type": …, "data": …}`` on ``/v1/marketdata/ws``.

Marks: [O] documented for this dialect, [A] assumed. A first session against the real server corrects an
assumption in the tables right below, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridge.aries.dialect import Request, batched, symbol_of, text_of
from bridge.aries.events import (
    Ack,
    AuthAccepted,
    AuthRefused,
    AuthWanted,
    Event,
    JsonObject,
    Kind,
    Pong,
    RequestRefused,
    Update,
)
from bridge.aries.kinds import classify
from bridge.errors import BadLine
from bridge.records import FIELDS
from bridge.symbols import SymbolType
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.subscriptions import Subscription

#: ``type`` of an update: [O] for equityComposite and marketStatus, [A] for the others.
KINDS = {
    "equityComposite": Kind.COMPOSITE,
    "optionComposite": Kind.COMPOSITE,
    "indexComposite": Kind.COMPOSITE,
    "timeAndSales": Kind.TIMESALE,
    "level2": Kind.LEVEL2,
    "greeks": Kind.GREEKS,
    "marketStatus": Kind.MARKET_STATUS,
}
#: What to subscribe to for quotes and trades: [O] for equities, [A] for the others.
COMPOSITES = {
    SymbolType.EQUITY: "equityComposite",
    SymbolType.INDEX: "equityComposite",
    SymbolType.OPTION: "optionComposite",
}
#: What to subscribe to for the other records: [A].
SINGLES = {Topic.TIMESALES: "timeAndSales", Topic.L2: "level2", Topic.GREEKS: "greeks"}
ALL_FIELDS = ("*",)  # [O]
SUCCESS = "success"  # [O]
UPDATE_ACTIONS = ("publish", "update")  # [O] publish for market status, none for composites; [A] update
AUTH_WANTED = ("authRequired", "refreshAuth", "authExpired")  # [A] as in the newer dialect
ERROR = "error"  # [A]
UNSUBSCRIBE = "unsubscribe"  # [A]


class Action:
    """Speak the older dialect; ``api_key`` gives what is sent along with the token where it is asked for."""

    name: ClassVar[str] = "action"
    pong_is_documented: ClassVar[bool] = True
    subscriptions_add_up: ClassVar[bool] = True  # one per type

    def __init__(self, api_key: Callable[[], str] | None = None) -> None:
        self._api_key = api_key

    def auth(self, request_id: str, token: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose the authentication request [O]; it has no id."""
        credentials = {"token": token} | ({"xAPIKey": self._api_key()} if self._api_key else {})
        return msgspec.json.encode({"action": "auth", **credentials})

    def ping(self, request_id: str) -> bytes:  # noqa: ARG002 - this dialect has no ids
        """Compose an application ping [O]."""
        return b'{"action":"ping"}'

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose subscribe requests, per type of subscription [O]."""
        return _requests("subscribe", subscriptions, ids)

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose unsubscribe requests, per type of subscription [A]."""
        return _requests(UNSUBSCRIBE, subscriptions, ids)

    def read(self, message: JsonObject) -> Event:
        """Return what a message says; raise ``BadLine`` where it says nothing we know."""
        action = message.get("action")
        data = message.get("data")
        if action is None or action in UPDATE_ACTIONS:
            if type(data) is dict:
                return _update(message, data)
            raise BadLine("malformed", "an update without an object as its data")
        return _answer(message, action)


def _requests(word: str, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
    for wire_type, asked in _by_type(subscriptions).items():
        for portion in batched(asked):
            data: list[JsonObject] = [{"symbol": one.symbol} for one in portion]
            if word == "subscribe":
                data = [{"symbol": one.symbol, "fields": _fields(wire_type, one)} for one in portion]
            frame = msgspec.json.encode({"action": word, "type": wire_type, "data": data})
            yield Request(next(ids), frame, portion)


def _by_type(subscriptions: Sequence[Subscription]) -> dict[str, list[Subscription]]:
    asked: dict[str, list[Subscription]] = {}
    for one in subscriptions:
        if not one.events.isdisjoint({Topic.QUOTES, Topic.TRADES}):
            asked.setdefault(COMPOSITES[one.type], []).append(one)
        for topic, wire_type in SINGLES.items():
            if topic in one.events:
                asked.setdefault(wire_type, []).append(one)
    return asked


def _fields(wire_type: str, subscription: Subscription) -> Sequence[str]:
    for topic, single in SINGLES.items():
        if wire_type == single:
            return subscription.fields.get(topic) or ALL_FIELDS
    return _composite_fields(subscription)


def _composite_fields(subscription: Subscription) -> Sequence[str]:
    """Return the fields to ask a composite for: all, or those of the records that are wanted."""
    wanted = [topic for topic in (Topic.QUOTES, Topic.TRADES) if topic in subscription.events]
    chosen = {topic: subscription.fields.get(topic) for topic in wanted}
    if len(wanted) > 1 and not any(chosen.values()):
        return ALL_FIELDS
    return [name for topic in wanted for name in chosen[topic] or FIELDS[topic]]


def _update(message: JsonObject, data: JsonObject) -> Update:
    word = message.get("type")
    kind = KINDS.get(word) if type(word) is str else None
    if kind is None:
        kind = classify(data)
        if kind is None:
            raise BadLine("unknown_kind", f"an update of type {text_of(word, 'nothing')!r} with no field we know")
    symbol = "market" if kind is Kind.MARKET_STATUS else symbol_of(data, message)
    return Update(kind, symbol, data, message.get("timestamp"))


def _answer(message: JsonObject, action: object) -> Event:
    said = message.get("message")
    text = text_of(said, text_of(message.get("error"), "an answer without a text"))
    if action == "auth":
        return AuthAccepted() if said == SUCCESS else AuthRefused(text)
    if action == "ping":
        return Pong()
    if action in AUTH_WANTED:
        return AuthWanted(str(action))
    if action == ERROR:
        return RequestRefused(None, text)
    if action in ("subscribe", UNSUBSCRIBE):
        return Ack(None, str(action)) if said in (None, SUCCESS) else RequestRefused(None, text)
    raise BadLine("unknown_message", f"an action {text_of(action, 'of no name')!r} is not known")
