from __future__ import annotations

from decimal import Decimal

import pytest
from websockets.asyncio.client import connect

from bridge.simulator import faults
from bridge.simulator.action_server_dialect import ActionServerDialect
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.requests import InvalidRequest
from bridge.simulator.server import Simulator
from tests.simulator.plain_client import ACTION_AUTH, PlainClient, action_client

OPTION = "AAPL240119C00150000"
EQUITY = '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL","fields":["*"]}]}'


async def test_authentication_is_answered_as_documented() -> None:
    """The response is the documented success message, followed by the market status."""
    async with Simulator(dialect="action") as sim, connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        await client.send(ACTION_AUTH)
        assert await client.line() == b'{"action":"auth","message":"success"}'
        status = await client.document()
    assert (status["action"], status["type"], status["data"]["market"]) == ("publish", "marketStatus", "open")


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [
        ('{"action":"auth","token":"bad"}', {"action": "auth", "message": "authentication failed"}),
        ('{"action":"auth"}', {"action": "auth", "message": "token is required"}),
        ('{"action":"ping"}', {"action": "ping", "message": "pong"}),
        ('{"action":"subscribe","type":"equityComposite","data":[]}', {"action": "authRequired"}),
        ('{"action":"dance"}', {"action": "error", "message": "unknown action: 'dance'"}),
        ("dance", {"action": "error", "message": "message is not JSON"}),
        ('\n{"action":"ping"}\r\n\n', {"action": "ping", "message": "pong"}),
    ],
)
async def test_answers_before_authentication(request_text: str, answer: object) -> None:
    """Each request gets its response."""
    async with Simulator(dialect="action", tokens=["good"]) as sim, connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        await client.send(request_text)
        assert await client.document() == answer


async def test_api_key_is_required_if_set() -> None:
    """A simulator with an API key rejects authentication without it."""
    async with Simulator(dialect="action", api_key="k1") as sim, connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        refused = await client.request(ACTION_AUTH, "message")
        accepted = await client.request('{"action":"auth","token":"good","xAPIKey":"k1"}', "message")
    assert refused["message"] == "xAPIKey is required"
    assert accepted["message"] == "success"


async def test_a_composite_holds_quote_and_trade() -> None:
    """The current state is one flat object with prices as strings, counted as a quote and a trade."""
    async with Simulator() as sim, action_client(sim, EQUITY) as client:
        current = await client.document()
    assert current["type"] == "equityComposite"
    assert {"symbol", "askPrice", "bidSize", "lastPrice", "totalVolume"} <= current["data"].keys()
    assert isinstance(current["data"]["askPrice"], str)
    assert isinstance(current["data"]["totalVolume"], int)
    assert sim.sent.lines_by_type["composite"] == 1
    assert sim.sent.records == {(DataKind.QUOTE, "AAPL"): 1, (DataKind.TRADE, "AAPL"): 1}


async def test_updates_are_flat_and_hold_only_requested_fields() -> None:
    """An update is a flat object with only the requested fields, and prices exactly as given."""
    asked = (
        '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL","fields":["askPrice","lastPrice"]}]}'
    )
    async with Simulator() as sim, action_client(sim, asked) as client:
        await client.document()
        await sim.quote("AAPL", askPrice="1234.00", bidPrice="1233.99")
        await sim.trade("AAPL", lastPrice="0.000000001", size=1)
        assert await client.line() == b'{"type":"equityComposite","data":{"symbol":"AAPL","askPrice":"1234.00"}}'
        assert await client.line() == (b'{"type":"equityComposite","data":{"symbol":"AAPL","lastPrice":"0.000000001"}}')


async def test_prices_can_be_sent_as_numbers() -> None:
    """With numeric prices the simulator sends the same digits without quotes."""
    async with Simulator(prices="number") as sim, action_client(sim, EQUITY) as client:
        await client.document()
        await sim.quote("AAPL", askPrice="1234.00", bidPrice="0.0000000010", askExchange="12")
        assert await client.line() == (
            b'{"type":"equityComposite","data":'
            b'{"symbol":"AAPL","askPrice":1234.00,"bidPrice":0.0000000010,"askExchange":"12"}}'
        )


async def test_other_types_follow_the_pattern() -> None:
    """Time and sales, level 2, greeks and option composites are sent with the type of their subscription."""
    async with (
        Simulator() as sim,
        action_client(
            sim,
            '{"action":"subscribe","type":"timeAndSales","data":[{"symbol":"AAPL"}]}',
            '{"action":"subscribe","type":"level2","data":[{"symbol":"AAPL","fields":["*"]}]}',
            f'{{"action":"subscribe","type":"greeks","data":[{{"symbol":"{OPTION}"}}]}}',
            f'{{"action":"subscribe","type":"optionComposite","data":[{{"symbol":"{OPTION}","fields":["bidPrice"]}}]}}',
        ) as client,
    ):
        await client.next_with("optionComposite")
        await sim.time_and_sale("AAPL", price="1.5", size=100, tradeSeq=9)
        await sim.level2("AAPL", orderBook=["100:1.51:", ":1.50:200"])
        await sim.greeks(OPTION, delta=0.5)
        await sim.quote(OPTION, bidPrice="3.10")
        documents = await client.documents(4)
    assert documents == [
        {"type": "timeAndSales", "data": {"symbol": "AAPL", "price": "1.5", "size": 100, "tradeSeq": 9}},
        {"type": "level2", "data": {"symbol": "AAPL", "orderBook": ["100:1.51:", ":1.50:200"]}},
        {"type": "greeks", "data": {"symbol": OPTION, "delta": Decimal("0.5")}},
        {"type": "optionComposite", "data": {"symbol": OPTION, "bidPrice": "3.10"}},
    ]


async def test_types_are_unsubscribed_one_by_one() -> None:
    """Unsubscribing from one type keeps the other types of the symbol."""
    level2 = '{"action":"subscribe","type":"level2","data":[{"symbol":"AAPL"}]}'
    async with Simulator() as sim, action_client(sim, EQUITY, level2) as client:
        await client.request(EQUITY.replace('"subscribe"', '"unsubscribe"'), '"unsubscribe","message":"success"')
        assert await sim.quote("AAPL", bidPrice="1") == 0
        assert await sim.level2("AAPL", orderBook=[]) == 1


async def test_a_symbol_must_fit_its_type() -> None:
    """An option symbol cannot be subscribed to as an equity."""
    wrong = f'{{"action":"subscribe","type":"equityComposite","data":[{{"symbol":"{OPTION}"}}]}}'
    async with Simulator() as sim, action_client(sim) as client:
        answer = await client.request(wrong, "message")
    assert answer == {"action": "error", "message": f"no such equity: {OPTION}"}


@pytest.mark.parametrize(
    "document",
    [
        1,
        {"action": "subscribe", "type": "bonds", "data": []},
        {"action": "subscribe", "type": "level2"},
        {"action": "subscribe", "type": "level2", "data": [{}]},
        {"action": "subscribe", "type": "level2", "data": [{"symbol": "A", "fields": [1]}]},
        {"action": "unsubscribe", "data": []},
    ],
)
def test_invalid_requests(document: object) -> None:
    """Documents that are not requests of this dialect are parsed as invalid requests."""
    assert isinstance(ActionServerDialect().parse_request(document), InvalidRequest)


async def test_guesses_can_be_changed() -> None:
    """What no vendor page documents is an attribute of the dialect, or a fault."""
    other = ActionServerDialect(errors_name_the_action=True)
    async with Simulator(action=other) as sim, action_client(sim) as client:
        await sim.inject(faults.NoAcks())
        await client.send('{"action":"subscribe","type":"bonds","data":[]}', EQUITY)
        error, current = await client.documents(2)
    assert error == {"action": "subscribe", "message": "unknown type: 'bonds'"}
    assert current["type"] == "equityComposite"
