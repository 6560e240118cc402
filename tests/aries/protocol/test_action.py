"""The older dialect, message by message as in the protocol description."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthRejected, AuthRequired, Message, Pong, RequestRejected
from bridge.aries.protocol.ndjson import parse
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine
from bridge.market_data import FIELDS, MARKET, EventType, Update, UpdateKind
from tests.aries.protocol.wire import CLOSED, line

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTION = Action()


def read(text: str | bytes) -> Message:
    return ACTION.read(parse(text.encode() if isinstance(text, str) else text))


def ids() -> Iterator[str]:
    return (f"sub-{number}" for number in count(1))


def asked(*described: object) -> dict[str, list[object]]:
    """Return the symbol objects for these subscriptions, by type of subscription."""
    wanted = plan([], ["quotes", "trades", "l2", "timesales"], json.dumps(described))
    found = {}
    for request in ACTION.subscribe(tuple(wanted.values()), ids()):
        message = json.loads(request.frame)
        assert message.keys() == {"action", "type", "data"}
        assert message["action"] == "subscribe"
        found[message["type"]] = message["data"]
    return found


# -- out --------------------------------------------------------------------------------------------------------


def test_the_auth_request_is_the_documented_one() -> None:
    """The API key is sent along if there is one, and is read each time."""
    assert ACTION.auth("auth-001", 'to"ken') == b'{"action":"auth","token":"to\\"ken"}'
    keys = iter(["old", "new"])
    with_key = Action(lambda: next(keys))
    assert with_key.auth("auth-001", "token") == b'{"action":"auth","token":"token","xAPIKey":"old"}'
    assert with_key.auth("auth-002", "token") == b'{"action":"auth","token":"token","xAPIKey":"new"}'


def test_the_ping_is_the_documented_one() -> None:
    """A ping has its action only."""
    assert ACTION.ping("p1") == b'{"action":"ping"}'


def test_the_subscribe_request_is_the_documented_one() -> None:
    """Symbols of the same type of subscription are in one request, each with its fields."""
    wanted = plan([], ["quotes", "trades"], json.dumps([
        {"symbol": "AAPL", "fields": {"quotes": ["askPrice", "bidPrice"], "trades": ["lastPrice"]}},
        {"symbol": "GOOGL"},
    ]))  # fmt: skip
    (request,) = ACTION.subscribe(tuple(wanted.values()), ids())
    assert request.frame.decode() == (
        '{"action":"subscribe","type":"equityComposite","data":['
        '{"symbol":"AAPL","fields":["askPrice","bidPrice","lastPrice"]},{"symbol":"GOOGL","fields":["*"]}]}'
    )


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (
            {"symbol": "AAPL"},
            {"equityComposite": ["*"], "timeAndSales": ["*"], "level2": ["*"]},
        ),
        (
            {"symbol": "AAPL", "events": ["quotes"], "fields": {"quotes": ["bidPrice"]}},
            {"equityComposite": ["bidPrice"]},
        ),
        ({"symbol": "AAPL", "events": ["quotes"]}, {"equityComposite": list(FIELDS[EventType.QUOTES])}),
        ({"symbol": "AAPL", "events": ["trades"]}, {"equityComposite": list(FIELDS[EventType.TRADES])}),
        ({"symbol": "SPX"}, {"equityComposite": list(FIELDS[EventType.TRADES])}),
        (
            {"symbol": "AAPL", "events": ["quotes", "trades"], "fields": {"quotes": ["bidPrice"]}},
            {"equityComposite": ["bidPrice", *FIELDS[EventType.TRADES]]},
        ),
        (
            {
                "symbol": "AAPL",
                "events": ["quotes", "trades"],
                "fields": {"quotes": ["bidPrice", "instrumentType"], "trades": ["instrumentType", "size"]},
            },
            {"equityComposite": ["bidPrice", "instrumentType", "size"]},
        ),
        (
            {"symbol": "AAPL", "events": ["l2", "timesales"], "fields": {"timesales": ["price"]}},
            {"timeAndSales": ["price"], "level2": ["*"]},
        ),
        (
            {
                "symbol": "AAPL240119C00150000",
                "events": ["quotes", "trades", "greeks"],
                "fields": {"greeks": ["delta"]},
            },
            {"optionComposite": ["*"], "greeks": ["delta"]},
        ),
    ],
)
def test_symbols_are_requested_by_type_events_and_fields(described: object, expected: dict[str, list[str]]) -> None:
    """A composite for only one event type lists its fields; the others list the chosen fields, or all."""
    found = asked(described)
    assert {wire_type: data[0]["fields"] for wire_type, data in found.items()} == expected  # type: ignore[index]  # an object


def test_a_request_has_its_own_subscriptions() -> None:
    """Of a symbol with several types, each request has only its own events, so that it can be sent again alone."""
    wanted = plan(["AAPL"], ["quotes", "trades", "l2", "timesales"])
    events = [request.subscriptions[0].events for request in ACTION.subscribe(tuple(wanted.values()), ids())]
    assert events == [{EventType.QUOTES, EventType.TRADES}, {EventType.TIMESALES}, {EventType.L2}]


def test_many_symbols_take_several_requests() -> None:
    """5,000 symbols of two types are 50 requests of 200."""
    wanted = plan([f"S{number}" for number in range(5000)], ["quotes", "l2"])
    requests = list(ACTION.subscribe(tuple(wanted.values()), ids()))
    assert len({request.request_id for request in requests}) == 50
    assert {len(json.loads(request.frame)["data"]) for request in requests} == {200}


def test_symbols_are_unsubscribed_by_type() -> None:
    """Each type of subscription is ended separately."""
    wanted = plan(["AAPL"], ["quotes", "l2"])
    frames = [request.frame for request in ACTION.unsubscribe(tuple(wanted.values()), ids())]
    assert frames == [
        b'{"action":"unsubscribe","type":"equityComposite","data":[{"symbol":"AAPL"}]}',
        b'{"action":"unsubscribe","type":"level2","data":[{"symbol":"AAPL"}]}',
    ]


# -- in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"action":"auth","message":"success"}', AuthAccepted()),
        ('{"action":"auth","message":"success","data":{"expiresIn":2700000}}', AuthAccepted(2700.0)),
        ('{"action":"auth","message":"authentication failed"}', AuthRejected("authentication failed")),
        ('{"action":"auth","error":"token is required"}', AuthRejected("token is required")),
        ('{"action":"auth"}', AuthRejected("an answer without a text")),
        ('{"action":"auth","message":["success"]}', AuthRejected("an answer without a text")),
        ('{"action":"ping","message":"pong"}', Pong()),
        ('{"action":"subscribe","message":"success"}', Ack(None)),
        ('{"action":"subscribe"}', Ack(None)),
        ('{"action":"subscribe","message":"unknown symbol"}', RequestRejected(None, "unknown symbol")),
        ('{"action":"subscribe","error":"unknown symbol"}', RequestRejected(None, "unknown symbol")),
        ('{"action":"subscribe","message":7}', RequestRejected(None, "an answer without a text")),
        ('{"action":"unsubscribe","message":"success"}', Ack("unsubscribe")),
        ('{"action":"unsubscribe","message":"no"}', RequestRejected("unsubscribe", "no")),
        ('{"action":"error","message":"no"}', RequestRejected(None, "no")),
        ('{"action":"error","error":"no"}', RequestRejected(None, "no")),
        ('{"action":"authRequired"}', AuthRequired(0.0)),
        ('{"action":"refreshAuth"}', AuthRequired(300.0)),
        ('{"action":"authExpired"}', AuthRequired(0.0)),
    ],
)
def test_session_messages_are_understood(text: str, expected: Message) -> None:
    """Answers and warnings become messages; the answers to unsubscribe and subscribe are distinguished."""
    assert read(text) == expected


def test_a_composite_is_one_flat_update() -> None:
    """The documented update keeps its decimal strings as they are."""
    update = read('{"type":"equityComposite","data":{"symbol":"AAPL","bidPrice":"1234.00"}}')
    assert update == Update(UpdateKind.COMPOSITE, "AAPL", {"symbol": "AAPL", "bidPrice": "1234.00"})


@pytest.mark.parametrize(
    ("wire_type", "kind"),
    [
        ("equityComposite", UpdateKind.COMPOSITE),
        ("optionComposite", UpdateKind.COMPOSITE),
        ("indexComposite", UpdateKind.COMPOSITE),
        ("timeAndSales", UpdateKind.TIMESALE),
        ("level2", UpdateKind.LEVEL2),
        ("greeks", UpdateKind.GREEKS),
    ],
)
@pytest.mark.parametrize("action", [{}, {"action": None}, {"action": "publish"}, {"action": "update"}])
@pytest.mark.parametrize("beside", [False, True])
def test_updates_are_classified_by_their_type(
    wire_type: str,
    kind: UpdateKind,
    action: dict[str, object],
    beside: bool,  # noqa: FBT001 - a case
) -> None:
    """Each type has its kind, with or without an action, the symbol in the data or beside it."""
    places: dict[str, object] = {"symbol": "AAPL", "data": {"x": 1}} if beside else {"data": {"symbol": "AAPL", "x": 1}}
    update = read(line({**action, "type": wire_type, **places, "timestamp": 5}))
    assert update == Update(kind, "AAPL", places["data"], 5)  # type: ignore[arg-type]  # an object


def test_market_status_is_an_update_of_the_market() -> None:
    """The documented market status keeps all its fields."""
    update = read(line({"action": "publish", "type": "marketStatus", "data": CLOSED}))
    assert update == Update(UpdateKind.MARKET_STATUS, MARKET, dict(CLOSED))


@pytest.mark.parametrize("wire_type", ["somethingNew", None, 7, ["level2"], {"level2": 1}])
def test_an_unknown_type_is_classified_by_its_fields(wire_type: object) -> None:
    """If the type is unknown, the names of the fields decide."""
    update = read(line({"type": wire_type, "data": {"symbol": "AAPL", "tradeSeq": 1, "price": 2, "size": 3}}))
    assert isinstance(update, Update)
    assert update.kind is UpdateKind.TIMESALE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "malformed"),
        ('{"data":[1]}', "malformed"),
        ('{"action":"publish","type":"marketStatus","data":"x"}', "malformed"),
        ('{"type":"x","data":{"symbol":"A","y":1}}', "unknown_kind"),
        ('{"type":"equityComposite","data":{"symbol":null,"bidPrice":"1"}}', "bad_symbol"),
        ('{"type":"equityComposite","data":{"bidPrice":"1"}}', "bad_symbol"),
        ('{"action":"dance"}', "unknown_message"),
        ('{"action":["auth"]}', "unknown_message"),
        ('{"action":{"auth":1}}', "unknown_message"),
        ('{"action":7}', "unknown_message"),
        ('{"action":""}', "unknown_message"),
    ],
)
def test_an_unknown_message_is_a_bad_line(text: str, reason: str) -> None:
    """A message of unknown shape has a reason."""
    with pytest.raises(BadLine) as caught:
        read(text)
    assert caught.value.reason == reason
