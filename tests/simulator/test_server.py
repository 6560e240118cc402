from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trustme
from websockets.asyncio.client import connect

from bridge.simulator import faults
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.market_status import MarketState
from bridge.simulator.requests import Authenticate, Ping, Subscribe
from bridge.simulator.server import Simulator
from tests.simulator.plain_client import ENVELOPE_AUTH, PlainClient, action_client, envelope_client

if TYPE_CHECKING:
    from bridge.simulator.shared_state import ServerEvent

ALL_OF_AAPL = '[{"symbol":"AAPL","timeAndSalesFields":"*","level2":true}]'
TWO_SYMBOLS = (
    '[{"symbol":"AAPL","level2":true},{"symbol":"AAPL240119C00150000","symbolType":"option","greeksFields":"*"}]'
)


async def lines_of(seed: int, clock_ms: int = 1_750_838_400_000) -> list[bytes]:
    async with (
        Simulator(seed=seed, clock=lambda: clock_ms) as sim,
        envelope_client(sim, TWO_SYMBOLS) as client,
    ):
        await sim.emit(200)
        await sim.send_line(b"end")
        lines = []
        while (line := await client.line()) != b"end":
            lines.append(line)
        return lines


async def test_the_same_seed_sends_the_same_lines() -> None:
    """Two runs with the same seed and clock send the same bytes, and another seed sends others."""
    first = await lines_of(3)
    assert len(first) > 200
    assert await lines_of(3) == first
    assert await lines_of(4) != first


async def test_counts_are_exact() -> None:
    """The counts of lines, frames, bytes and records equal what the client read."""
    async with Simulator(lines_per_frame=7) as sim, envelope_client(sim, TWO_SYMBOLS) as client:
        await sim.emit(1000)
        await sim.send_line(b'"end"')
        records: Counter[tuple[str, str]] = Counter()
        while (document := await client.document()) != "end":
            records[document["payload"]["type"], document["payload"]["data"]["symbol"]] += 1
    assert records == {(kind.value, symbol): n for (kind, symbol), n in sim.sent.records.items()}
    assert sim.sent.records.total() == sim.sent.market_data == records.total()
    assert sim.sent.frames == len(client.frames)
    assert sim.sent.bytes == sum(map(len, client.frames))
    assert sim.sent.lines == sum(len(frame.split(b"\n")) for frame in client.frames)
    assert sim.skipped.lines == 0


async def test_frames_hold_several_lines() -> None:
    """Queued lines are combined into frames of at most ``lines_per_frame`` lines."""
    async with Simulator(lines_per_frame=10) as sim, envelope_client(sim, ALL_OF_AAPL) as client:
        seen = len(client.frames)
        await sim.emit(100)
        await sim.send_frame(b"end")
        while await client.line() != b"end":
            pass
    sizes = [frame.count(b"\n") + 1 for frame in client.frames[seen:]]
    assert max(sizes) == 10
    assert sum(sizes) >= 100


async def test_the_market_runs_at_a_rate() -> None:
    """With a rate, events are sent without calls."""
    async with Simulator(rate=1000) as sim, envelope_client(sim, ALL_OF_AAPL) as client:
        kinds = {(await client.document())["payload"]["type"] for _ in range(200)}
    assert kinds == {"quote", "trade", "timeAndSales", "level2"}


async def test_no_data_while_the_market_is_closed() -> None:
    """No events are generated while the market is closed, and closing and opening are announced."""
    async with Simulator(rate=1000, market=MarketState.CLOSED) as sim, envelope_client(sim, ALL_OF_AAPL) as client:
        await client.documents(2)
        before = sim.sent.lines
        answer = await client.request('{"type":"ping","id":"p1"}', "p1")
        assert (answer["type"], sim.sent.lines) == ("pong", before + 1)
        await sim.inject(faults.SetMarket(status=MarketState.OPEN))
        status = await client.document()
        assert status["payload"]["data"]["market"] == "open"
        assert (await client.document())["payload"]["type"] in {"quote", "trade", "level2", "timeAndSales"}


@pytest.mark.parametrize(
    ("state", "market", "after_hours", "early_hours"),
    [
        ("closed", "closed", False, False),
        ("extended", "extended-hours", True, False),
        ("early", "extended-hours", False, True),
    ],
)
async def test_market_status_in_every_state(
    state: str,
    market: str,
    after_hours: bool,  # noqa: FBT001 - parametrised
    early_hours: bool,  # noqa: FBT001 - likewise
) -> None:
    """Each state of the market has its fields in the market status."""
    async with Simulator() as sim, action_client(sim) as client:
        await sim.inject(faults.SetMarket(status=MarketState(state)))
        data = (await client.document())["data"]
    assert (data["market"], data["afterHours"], data["earlyHours"]) == (market, after_hours, early_hours)


async def test_several_clients_get_what_each_subscribed_to() -> None:
    """Clients of both dialects can share a simulator, each with its own subscriptions."""
    one = '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL"}]}'
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator())
        newer = await stack.enter_async_context(envelope_client(sim, '[{"symbol":"MSFT"},{"symbol":"AAPL"}]'))
        older = await stack.enter_async_context(action_client(sim, one))
        await newer.documents(4)
        await older.document()
        assert await sim.quote("AAPL", bidPrice="1.5") == 2
        assert await sim.quote("MSFT", bidPrice="2.5") == 1
        assert (await older.document())["data"]["bidPrice"] == "1.5"
        assert [(await newer.document())["payload"]["data"]["symbol"] for _ in range(2)] == ["AAPL", "MSFT"]
        assert len(sim.sessions) == 2


async def test_the_path_selects_the_dialect() -> None:
    """With dialect auto, the newer path selects envelope, and every other path action."""
    async with Simulator() as sim:
        base, number = sim.url.removesuffix("/v1/market/ws"), 0
        for path, dialect in (("/v1/market/ws?x=1", "envelope"), ("/v1/marketdata/ws", "action"), ("/", "action")):
            async with connect(base + path, proxy=None):
                number += 1
                assert (await sim.connected(number)).dialect.name == dialect


async def test_sent_data_is_part_of_the_current_state() -> None:
    """Data sent by a call becomes part of the current state."""
    async with Simulator() as sim:
        await sim.quote("AAPL", bidPrice="7.125")
        async with envelope_client(sim, '[{"symbol":"AAPL","quoteFields":"*"}]') as client:
            assert b'"bidPrice":7.125' in await client.line()


async def test_only_listed_symbols_exist() -> None:
    """A simulator with a list of symbols rejects other symbols by an error with the request's id."""
    async with Simulator(symbols=["AAPL"]) as sim, envelope_client(sim) as client:
        await client.send('{"type":"subscribe","id":"s9","payload":[{"symbol":"AAPL"},{"symbol":"NOPE"}]}')
        error = await client.document()
        assert error["payload"]["error"] == "unknown symbol: NOPE"
        assert error["payload"]["id"] == "s9"
        await sim.subscribed("AAPL")


async def test_requests_are_kept() -> None:
    """Requests can be inspected and waited for, and their representation hides the token."""
    async with Simulator() as sim, envelope_client(sim, '[{"symbol":"AAPL"}]') as client:
        await client.send('{"type":"ping","id":"p1"}', '{"type":"ping","id":"p2"}')
        pings = await sim.requested(Ping, 2)
        assert [ping.request for ping in pings] == [Ping("p1"), Ping("p2")]
        assert (await sim.requested(Subscribe))[0].document == {
            "type": "subscribe",
            "id": "sub-1",
            "payload": [{"symbol": "AAPL"}],
        }
        authenticate = (await sim.requested(Authenticate))[0]
    assert "good" not in repr(authenticate)
    assert sim.received_counts["Ping"] == 2


async def test_a_timeout_names_what_was_awaited() -> None:
    """The error of a wait that times out names what was awaited."""
    async with Simulator() as sim:
        with pytest.raises(TimeoutError, match="a subscription of AAPL"):
            await sim.subscribed("AAPL", timeout_seconds=0.01)


async def test_live_sessions_are_listed() -> None:
    """Live sessions are listed, and their end can be waited for."""
    async with Simulator() as sim:
        async with connect(sim.url, proxy=None):
            session = await sim.connected()
            assert sim.sessions == [session]
            assert not session.authenticated
        await sim.disconnected()


async def test_a_slow_client_does_not_delay_others() -> None:
    """A client that does not read loses market data, which is counted, and another client gets everything."""
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(queue_bytes=20_000))
        slow = await stack.enter_async_context(envelope_client(sim, ALL_OF_AAPL))
        slow.ws.transport.pause_reading()
        sim.sessions[0].stream.send_frame(b" " * 10_000_000)  # more than the sockets' buffers take
        quick = await stack.enter_async_context(envelope_client(sim, ALL_OF_AAPL))
        reading = asyncio.create_task(read_all(quick))
        for _ in range(100):
            sim.burst(10)
            await sim.wait_for(lambda: sim.sessions[1].connection.idle)
        assert sim.skipped.records[DataKind.QUOTE, "AAPL"] == sim.skipped.lines_by_type["quote"] > 0
        slow.ws.transport.abort()
        await sim.wait_for(lambda: len(sim.sessions) == 1)
        written = sim.sessions[0].sent.lines
        await quick.ws.close()
        assert await reading == written


async def read_all(client: PlainClient) -> int:
    async for _ in client.ws:
        client.frames.append(b"")
    return len(client.frames)


async def test_many_events_by_one_call() -> None:
    """``emit`` writes everything that it generates, even if it is a lot."""
    async with Simulator(lines_per_frame=50) as sim, envelope_client(sim, ALL_OF_AAPL) as client:
        reading = asyncio.create_task(read_all(client))
        assert await sim.emit(5000) == 5000
        await client.ws.close()
        await reading
    assert sim.sent.market_data == 5002
    assert sim.skipped.lines == 0


async def test_tls() -> None:
    """With a certificate the simulator serves wss."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    async with Simulator(ssl=server) as sim, connect(sim.url, ssl=client_side, proxy=None) as ws:
        assert sim.url.startswith("wss://")
        accepted = await PlainClient(ws).request(ENVELOPE_AUTH, "authSuccess")
    assert accepted["payload"]["id"] == "auth-001"


async def test_closing_ends_every_connection() -> None:
    """When the simulator stops, it closes its connections with 1001."""
    sim = Simulator()
    async with AsyncExitStack() as clients:
        async with sim:
            ws = await clients.enter_async_context(connect(sim.url, proxy=None))
            await sim.connected()
        await ws.wait_closed()
        assert ws.close_code == 1001


async def test_events_are_reported() -> None:
    """Connections, authentications and subscriptions are reported as events, without tokens."""
    seen: list[ServerEvent] = []
    async with Simulator(on_event=seen.append) as sim, envelope_client(sim, '[{"symbol":"AAPL"}]'):
        pass
    texts = [str(event) for event in seen]
    assert texts[:3] == [
        "connection 1: connected: dialect envelope",
        "connection 1: authenticated",
        "connection 1: subscribed: 1 of 1 symbols",
    ]
    assert "good" not in json.dumps(texts)
