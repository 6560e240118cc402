from __future__ import annotations

from decimal import Decimal

import pytest
from websockets.asyncio.client import connect

from bridge.simulator.action import Action
from bridge.simulator.fields import Kind
from bridge.simulator.requests import Unreadable
from bridge.simulator.server import Simulator
from tests.simulator.plain_client import ACTION_AUTH, PlainClient, action_client

OPTION = "AAPL240119C00150000"
EQUITY = '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL","fields":["*"]}]}'


async def test_authentication_is_answered_as_documented() -> None:
    """The answer is the literal success message, with the market status published behind it."""
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
    """Each request has its answer."""
    async with Simulator(dialect="action", tokens=["good"]) as sim, connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        await client.send(request_text)
        assert await client.document() == answer


async def test_api_key_is_asked_for_where_set() -> None:
    """A simulator with an API key takes no authentication without it."""
    async with Simulator(dialect="action", api_key="k1") as sim, connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        refused = await client.ask(ACTION_AUTH, "message")
        accepted = await client.ask('{"action":"auth","token":"good","xAPIKey":"k1"}', "message")
    assert refused["message"] == "xAPIKey is required"
    assert accepted["message"] == "success"


async def test_a_composite_shows_quote_and_trade_together() -> None:
    """The current state comes as one flat object with prices as text, and counts as a quote and a trade."""
    async with Simulator() as sim, action_client(sim, EQUITY) as client:
        current = await client.document()
    assert current["type"] == "equityComposite"
    assert {"symbol", "askPrice", "bidSize", "lastPrice", "totalVolume"} <= current["data"].keys()
    assert isinstance(current["data"]["askPrice"], str)
    assert isinstance(current["data"]["totalVolume"], int)
    assert sim.sent.words["composite"] == 1
    assert sim.sent.records == {(Kind.QUOTE, "AAPL"): 1, (Kind.TRADE, "AAPL"): 1}


async def test_updates_are_flat_and_hold_only_requested_fields() -> None:
    """An update is a flat object with just the fields of the list, prices exactly as given."""
    asked = (
        '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL","fields":["askPrice","lastPrice"]}]}'
    )
    async with Simulator() as sim, action_client(sim, asked) as client:
        await client.document()
        await sim.quote("AAPL", askPrice="1234.00", bidPrice="1233.99")
        await sim.trade("AAPL", lastPrice="0.000000001", size=1)
        assert await client.line() == b'{"type":"equityComposite","data":{"symbol":"AAPL","askPrice":"1234.00"}}'
        assert await client.line() == (b'{"type":"equityComposite","data":{"symbol":"AAPL","lastPrice":"0.000000001"}}')


async def test_prices_can_travel_as_numbers() -> None:
    """A simulator set to numbers writes the same digits without quotes."""
    async with Simulator(prices="number") as sim, action_client(sim, EQUITY) as client:
        await client.document()
        await sim.quote("AAPL", askPrice="1234.00", bidPrice="0.0000000010", askExchange="12")
        assert await client.line() == (
            b'{"type":"equityComposite","data":'
            b'{"symbol":"AAPL","askPrice":1234.00,"bidPrice":0.0000000010,"askExchange":"12"}}'
        )


async def test_other_types_follow_the_pattern() -> None:
    """Time and sales, level 2, greeks and option composites come under the word they were asked for."""
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
        await client.next_of("optionComposite")
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
    """Unsubscribing from one type leaves the others of the symbol."""
    level2 = '{"action":"subscribe","type":"level2","data":[{"symbol":"AAPL"}]}'
    async with Simulator() as sim, action_client(sim, EQUITY, level2) as client:
        await client.ask(EQUITY.replace('"subscribe"', '"unsubscribe"'), '"unsubscribe","message":"success"')
        assert await sim.quote("AAPL", bidPrice="1") == 0
        assert await sim.level2("AAPL", orderBook=[]) == 1


async def test_a_symbol_must_fit_its_type() -> None:
    """An option symbol is no equity."""
    wrong = f'{{"action":"subscribe","type":"equityComposite","data":[{{"symbol":"{OPTION}"}}]}}'
    async with Simulator() as sim, action_client(sim) as client:
        answer = await client.ask(wrong, "message")
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
def test_unreadable_requests(document: object) -> None:
    """What is no request of this dialect is told apart."""
    assert isinstance(Action().read(document), Unreadable)


async def test_guesses_can_be_changed() -> None:
    """Whatever no vendor page shows is an attribute of the dialect."""
    other = Action(errors_name_the_action=True, acks=False)
    async with Simulator(action=other) as sim, action_client(sim) as client:
        await client.send('{"action":"subscribe","type":"bonds","data":[]}', EQUITY)
        error, current = await client.documents(2)
    assert error == {"action": "subscribe", "message": "unknown type: 'bonds'"}
    assert current["type"] == "equityComposite"
