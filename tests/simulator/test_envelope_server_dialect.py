from __future__ import annotations

from decimal import Decimal

import pytest
from websockets.asyncio.client import connect

from bridge.simulator import faults
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.envelope_server_dialect import EnvelopeServerDialect
from bridge.simulator.requests import Authenticate, InvalidRequest, Subscribe
from bridge.simulator.server import Simulator
from tests.simulator.plain_client import ENVELOPE_AUTH, PlainClient, envelope_client

OPTION = "AAPL240119C00150000"


def requested_kinds(symbol_object: dict[str, object]) -> dict[DataKind, frozenset[str] | None]:
    request = EnvelopeServerDialect().parse_request({"type": "subscribe", "id": "s", "payload": [symbol_object]})
    assert isinstance(request, Subscribe)
    return {kind: selection.fields for kind, selection in request.items[0].kinds.items()}


async def test_authentication_is_answered_as_documented() -> None:
    """The response has the request's id and the expiry in milliseconds, and the market status follows."""
    async with (
        Simulator(dialect="envelope", clock=lambda: 1_701_450_000_123) as sim,
        connect(sim.url, proxy=None) as ws,
    ):
        client = PlainClient(ws)
        await client.send(ENVELOPE_AUTH)
        assert await client.line() == (
            b'{"type":"event","payload":{"action":"authSuccess","data":{"expiresIn":2700000},'
            b'"id":"auth-001","timestamp":1701450000123}}'
        )
        status = await client.document()
    assert status["payload"]["action"] == "update"
    assert status["payload"]["type"] == "marketStatus"
    assert status["payload"]["data"] == {
        "afterHours": False,
        "earlyHours": False,
        "currencies": {"crypto": "open", "fx": "open"},
        "exchanges": {"nasdaq": "open", "nyse": "open", "otc": "open"},
        "indicesGroups": {"dow_jones": "open", "nasdaq": "open", "s_and_p": "open"},
        "market": "open",
        "serverTime": "2023-12-01T17:00:00.123Z",
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"action":"auth"}', "token is required"),
        ('{"action":"auth","data":{"token":"good"}}', "token is required"),
        ('{"action":"auth","token":""}', "token is required"),
        ('{"action":"auth","token":"bad"}', "authentication failed"),
    ],
)
async def test_invalid_authentication_is_rejected(body: str, error: str) -> None:
    """A missing or invalid token gets an error event with the request's id."""
    async with (
        Simulator(tokens=["good"], clock=lambda: 5) as sim,
        connect(sim.url, proxy=None) as ws,
    ):
        client = PlainClient(ws)
        await client.send('{"type":"request","id":"a","payload":{"method":"POST","path":"/auth","body":' + body + "}}")
        assert await client.document() == {
            "type": "event",
            "payload": {"action": "error", "error": error, "id": "a", "timestamp": 5},
        }


async def test_subscribing_requires_authentication() -> None:
    """A client that subscribes before it authenticates gets ``authRequired``."""
    async with Simulator() as sim, connect(sim.url, proxy=None) as ws:
        answer = await PlainClient(ws).request('{"type":"subscribe","payload":[{"symbol":"AAPL"}]}', "event")
    assert answer["payload"]["action"] == "authRequired"


async def test_subscription_is_acknowledged_and_followed_by_the_current_state() -> None:
    """A new subscriber gets the ack, then the current quote and trade as normal updates, but no level 2."""
    async with (
        Simulator() as sim,
        envelope_client(sim, '[{"symbol":"AAPL","level2":true,"timeAndSalesFields":"*"}]') as client,
    ):
        quote, trade = await client.documents(2)
        await sim.send_line(b'{"end":1}')
        assert await client.document() == {"end": 1}
    assert (quote["payload"]["type"], trade["payload"]["type"]) == ("quote", "trade")
    assert quote["payload"]["data"]["symbol"] == "AAPL"
    assert isinstance(quote["payload"]["data"]["bidPrice"], Decimal)
    assert isinstance(quote["payload"]["data"]["bidSize"], int)
    assert isinstance(quote["payload"]["timestamp"], int)


async def test_current_state_of_options_has_greeks() -> None:
    """Greeks are part of the current state, and empty field lists exclude the other kinds."""
    asked = f'[{{"symbol":"{OPTION}","symbolType":"option","quoteFields":[],"greeksFields":["delta","vega"]}}]'
    async with Simulator() as sim, envelope_client(sim, asked) as client:
        greeks = await client.document()
    assert greeks["payload"]["type"] == "greeks"
    assert greeks["payload"]["data"].keys() == {"symbol", "delta", "vega"}


async def test_only_requested_fields_are_sent() -> None:
    """An update holds the symbol and the requested fields; an update with no such field is not sent."""
    async with (
        Simulator() as sim,
        envelope_client(sim, '[{"symbol":"AAPL","quoteFields":["bidPrice","askPrice"]}]') as client,
    ):
        current = await client.document()
        assert current["payload"]["data"].keys() == {"symbol", "bidPrice", "askPrice"}
        assert await sim.quote("AAPL", bidPrice="1.230", bidSize=3) == 1
        assert await sim.quote("AAPL", bidSize=4) == 0
        assert await sim.trade("AAPL", lastPrice="1.23") == 0
        update = await client.document()
    assert update["payload"]["data"] == {"symbol": "AAPL", "bidPrice": Decimal("1.230")}


@pytest.mark.parametrize(
    ("symbol_object", "kinds"),
    [
        ({}, {DataKind.QUOTE: None, DataKind.TRADE: None}),
        ({"quoteFields": "*"}, {DataKind.QUOTE: None}),
        ({"tradeFields": ["lastPrice"]}, {DataKind.TRADE: frozenset({"lastPrice"})}),
        ({"quoteFields": "bidPrice,askPrice"}, {DataKind.QUOTE: frozenset({"bidPrice", "askPrice"})}),
        ({"quoteFields": ["bidPrice", "*"]}, {DataKind.QUOTE: None}),
        (
            {"fields": ["bidPrice", "lastPrice"]},
            {
                DataKind.QUOTE: frozenset({"bidPrice", "lastPrice"}),
                DataKind.TRADE: frozenset({"bidPrice", "lastPrice"}),
            },
        ),
        ({"fields": "bidPrice"}, {DataKind.QUOTE: frozenset({"bidPrice"})}),
        ({"quoteFields": [], "timeAndSalesFields": "*"}, {DataKind.TIME_AND_SALES: None}),
        ({"quoteFields": [], "level2": True}, {DataKind.LEVEL2: None}),
    ],
)
def test_symbol_objects_select_kinds(
    symbol_object: dict[str, object], kinds: dict[DataKind, frozenset[str] | None]
) -> None:
    """Both field lists absent means all quotes and trades; one given means only that one."""
    assert requested_kinds({"symbol": "AAPL", **symbol_object}) == kinds


def test_indices_have_no_quotes() -> None:
    """A subscription of an index is for trades only."""
    assert requested_kinds({"symbol": "SPX"}) == {DataKind.TRADE: None}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"type": "dance"},
        {"type": "request", "payload": {"path": "/other"}},
        {"type": "request", "payload": 1},
        {"type": "subscribe"},
        {"type": "subscribe", "payload": [{}]},
        {"type": "subscribe", "payload": [1]},
        {"type": "subscribe", "payload": [{"symbol": "AAPL", "quoteFields": 1}]},
        {"type": "subscribe", "payload": [{"symbol": "AAPL", "symbolType": "bond"}]},
        {"type": "subscribe", "payload": [{"symbol": "AAPL", "greeksFields": "*"}]},
        {"type": "unsubscribe", "payload": {"symbol": "AAPL"}},
        {"type": "unsubscribe", "payload": [{"symbol": ""}]},
    ],
)
def test_invalid_requests(document: object) -> None:
    """Documents that are not requests of this dialect are parsed as invalid requests."""
    assert isinstance(EnvelopeServerDialect().parse_request(document), InvalidRequest)


def test_tokens_are_not_in_representations() -> None:
    """The representation of an authentication does not hold the token."""
    request = Authenticate("hunter2", "key", "1")
    assert "hunter2" not in repr(request)


async def test_subscribing_again_replaces_the_fields() -> None:
    """The last subscription of a symbol replaces the earlier ones."""
    async with (
        Simulator() as sim,
        envelope_client(sim, '[{"symbol":"AAPL"}]', '[{"symbol":"AAPL","tradeFields":["lastPrice"]}]') as client,
    ):
        await client.next_with("lastPrice")
        assert await sim.quote("AAPL", bidPrice="1") == 0
        assert await sim.trade("AAPL", lastPrice="1") == 1


async def test_unsubscribing_ends_updates() -> None:
    """After an unsubscribe no data of the symbol is sent, and other symbols are not affected."""
    async with Simulator() as sim, envelope_client(sim, '[{"symbol":"AAPL"},{"symbol":"MSFT"}]') as client:
        await client.send('{"type":"unsubscribe","id":"u1","payload":[{"symbol":"AAPL"}]}')
        assert (await client.next_with('"response"'))["id"] == "u1"
        await sim.unsubscribed("AAPL")
        assert await sim.quote("AAPL", bidPrice="1") == 0
        assert await sim.quote("MSFT", bidPrice="1") == 1


async def test_pings_are_answered() -> None:
    """A ping is answered with its id, even before authentication."""
    async with Simulator() as sim, connect(sim.url, proxy=None) as ws:
        answer = await PlainClient(ws).request('{"type":"ping","id":"p1"}', "pong")
    assert answer == {"type": "pong", "id": "p1"}


async def test_guesses_can_be_changed() -> None:
    """What no vendor page documents is an attribute of the dialect, or a fault."""
    other = EnvelopeServerDialect(
        prices="string",
        update_types={kind: f"x-{kind}" for kind in DataKind},
        id_place="top",
        symbol_place="payload",
        expiry_units_per_second=1,
    )
    async with Simulator(envelope=other) as sim, connect(sim.url, proxy=None) as ws:
        await sim.inject(faults.NoAcks())
        await sim.inject(faults.NoPongs())
        client = PlainClient(ws)
        accepted = await client.request(ENVELOPE_AUTH, "authSuccess")
        assert (accepted["id"], accepted["payload"]["data"]) == ("auth-001", {"expiresIn": 2700})
        await client.next_with("marketStatus")
        await client.send('{"type":"ping"}', '{"type":"subscribe","id":"s","payload":[{"symbol":"AAPL"}]}')
        update = await client.document()
    assert (update["payload"]["type"], update["payload"]["symbol"]) == ("x-quote", "AAPL")
    assert isinstance(update["payload"]["data"]["askPrice"], str)
