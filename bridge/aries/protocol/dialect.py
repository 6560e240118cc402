"""What a dialect of the Aries wire has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from bridge.aries.protocol.classification import classify
from bridge.errors import BadLine
from bridge.market_data import MARKET, MARKET_STATUS, Update

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.aries.protocol.messages import Event
    from bridge.aries.subscriptions import Subscription
    from bridge.market_data import JsonObject, UpdateKind

#: Symbols in one request; the server's limit is not known.
SYMBOLS_PER_REQUEST = 200
#: The longest symbol we believe to be one: it becomes a record's key and an entry of our maps.
MAX_SYMBOL_CHARACTERS = 64
#: The longest answer we repeat in logs and errors.
MAX_TEXT_CHARACTERS = 200


class Request(msgspec.Struct, frozen=True):
    """Carry a request for some symbols: the frame to send, and what it asks for."""

    request_id: str
    frame: bytes
    subscriptions: tuple[Subscription, ...]


class Dialect(Protocol):
    """Compose requests and read messages in one dialect."""

    name: ClassVar[str]
    #: True where the vendor documents that an application ping is answered.
    pong_is_documented: ClassVar[bool]
    #: True where asking for less of a symbol takes an unsubscribe; False where its last request counts.
    subscriptions_add_up: ClassVar[bool]

    def auth(self, request_id: str, token: str) -> bytes:
        """Compose the authentication request; raise ``SecretUnreadable`` where a credential cannot be read."""

    def ping(self, request_id: str) -> bytes:
        """Compose an application ping."""

    def subscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose the requests that ask for these subscriptions, one id each."""

    def unsubscribe(self, subscriptions: Sequence[Subscription], ids: Iterator[str]) -> Iterator[Request]:
        """Compose the requests that end these subscriptions."""

    def read(self, message: JsonObject) -> Event:
        """Return what a message says; raise ``BadLine`` where it says nothing we know."""

    def update(self, line: bytes) -> Update | None:
        """Return what ``parse`` and ``read`` make of the usual line, an update about a symbol, and of no other.

        Nearly all lines are such; to decode them in one step saves an eighth of the way from frame to queue.
        """


def batched(subscriptions: Sequence[Subscription]) -> Iterator[tuple[Subscription, ...]]:
    """Cut subscriptions into the portions of one request each."""
    for start in range(0, len(subscriptions), SYMBOLS_PER_REQUEST):
        yield tuple(subscriptions[start : start + SYMBOLS_PER_REQUEST])


def update_of(body: JsonObject, kinds: Mapping[str, UpdateKind], feed_time: str) -> Update:
    """Return the update in the object that holds its ``type`` and ``data``; raise ``BadLine`` where there is none.

    ``kinds`` are the words a dialect knows; a word that is none of them is classified by the fields beside it.
    """
    data = body.get("data")
    if type(data) is not dict:
        raise BadLine("malformed", "an update without an object as its data")
    word = body.get("type")
    kind = kinds.get(word) if type(word) is str else None
    if kind is None:
        kind = classify(data)
        if kind is None:
            raise BadLine("unknown_kind", f"an update of type {text_of(word, 'nothing')!r} with no field we know")
    if kind is MARKET_STATUS:
        return Update(kind, MARKET, data, body.get(feed_time))
    symbol = data.get("symbol")
    if symbol is None:
        symbol = body.get("symbol")  # [A] beside the fields
    update = usual_update(kind, symbol, data, body.get(feed_time))
    if update is None:
        raise BadLine("bad_symbol", "the message names no symbol, or one that cannot be one")
    return update


def usual_update(kind: UpdateKind | None, symbol: object, fields: JsonObject, feed_time: object) -> Update | None:
    """Return the update about a symbol; None where it is about none, or names what cannot be one."""
    if kind is None or kind is MARKET_STATUS or type(symbol) is not str:
        return None
    if 0 < len(symbol) <= MAX_SYMBOL_CHARACTERS and symbol.isprintable():
        return Update(kind, symbol, fields, feed_time)
    return None


def text_of(value: object, otherwise: str) -> str:
    """Return an answer's text, bounded, for logs and errors."""
    return value[:MAX_TEXT_CHARACTERS] if type(value) is str and value else otherwise


def expires_in_seconds(data: object, per_second: float) -> float | None:
    """Return how long a session lasts by the ``expiresIn`` of an answer; None where it has no such number."""
    value = data.get("expiresIn") if type(data) is dict else None
    if type(value) is not int and type(value) is not str:
        return None
    try:
        seconds = float(value) / per_second
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < float("inf") else None
