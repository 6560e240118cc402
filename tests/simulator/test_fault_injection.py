from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from bridge.simulator import faults
from bridge.simulator.faults import FAULTS
from bridge.simulator.market_status import MarketState
from bridge.simulator.requests import Ping, Pong
from bridge.simulator.server import Simulator
from tests.simulator.plain_client import (
    ACTION_AUTH,
    ENVELOPE_AUTH,
    PlainClient,
    action_client,
    envelope_client,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

QUOTES = '[{"symbol":"AAPL","quoteFields":"*"}]'
PING = '{"type":"ping","id":"p1"}'


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


async def authenticate(sim: Simulator, token: str = "good") -> Any:
    async with connect(sim.url, proxy=None) as ws:
        return (await PlainClient(ws).request(ENVELOPE_AUTH.replace("good", token), "auth-001"))["payload"]


async def test_auth_rejected_a_number_of_times(sim: Simulator) -> None:
    """Authentication is rejected as often as ``times`` says, then it works again."""
    await sim.inject(faults.RefuseAuth(times=2))
    answers = [(await authenticate(sim))["action"] for _ in range(3)]
    assert answers == ["error", "error", "authSuccess"]


async def test_auth_rejected_until_healed(sim: Simulator) -> None:
    """Without times or seconds a fault lasts until ``Heal``."""
    await sim.inject(faults.RefuseAuth(error="no access"))
    assert (await authenticate(sim))["error"] == "no access"
    await sim.inject(faults.Heal())
    assert (await authenticate(sim))["action"] == "authSuccess"


async def test_auth_rejected_and_closed(sim: Simulator) -> None:
    """A rejection can close the connection after the response."""
    await sim.inject(faults.RefuseAuth(close=True))
    async with connect(sim.url, proxy=None) as ws:
        await ws.send(ENVELOPE_AUTH)
        assert "authentication failed" in str(await ws.recv())
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_particular_tokens_rejected(sim: Simulator) -> None:
    """A rejected token does not affect others; accepting tokens rejects all others."""
    await sim.inject(faults.RefuseTokens(tokens=("stale",)))
    assert (await authenticate(sim, "stale"))["action"] == "error"
    assert (await authenticate(sim, "fresh"))["action"] == "authSuccess"
    await sim.inject(faults.AcceptTokens(tokens=("fresher", "stale")))
    assert (await authenticate(sim, "fresh"))["action"] == "error"
    assert (await authenticate(sim, "stale"))["action"] == "authSuccess"


async def test_auth_answered_late_or_never(sim: Simulator) -> None:
    """Pings are answered while an authentication is delayed or ignored."""
    await sim.inject(faults.LateAuth(delay_seconds=0.3, times=1))
    await sim.inject(faults.IgnoreAuth(times=1))
    async with connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        await client.send(ENVELOPE_AUTH, PING)
        assert (await client.document())["type"] == "pong"
        await client.send(ENVELOPE_AUTH, PING)
        assert (await client.document())["type"] == "pong"
        assert (await client.document())["payload"]["action"] == "authSuccess"


@pytest.mark.parametrize("close", [True, False])
async def test_expiry_with_warning(sim: Simulator, close: bool) -> None:  # noqa: FBT001 - parametrised
    """The client gets the warning, then the expiry, then optionally a close; data ends with the expiry."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.Expire(warning_seconds=0.3, close=close))
        assert (await client.document())["payload"]["action"] == "refreshAuth"
        assert await sim.quote("AAPL", bidPrice="1") == 1
        await client.document()
        assert (await client.document())["payload"]["action"] == "authExpired"
        assert await sim.quote("AAPL", bidPrice="1") == 0
        if close:
            with pytest.raises(ConnectionClosedError):
                await client.ws.recv()
        else:
            await client.request(ENVELOPE_AUTH, "marketStatus")
            assert await sim.quote("AAPL", bidPrice="1") == 1


async def test_reauthentication_prevents_expiry(sim: Simulator) -> None:
    """A client that re-authenticates after the warning keeps its session and its subscriptions."""
    async with envelope_client(sim, QUOTES) as client:
        await sim.inject(faults.Expire(warning_seconds=30))
        last_seconds = sim.sessions[0]._expiry._timers
        await client.next_with("refreshAuth")
        await client.request(ENVELOPE_AUTH, "marketStatus")
        assert all(timer.cancelled() for timer in last_seconds)
        assert await sim.quote("AAPL", bidPrice="1") == 1


async def test_sessions_expire_after_their_lifetime() -> None:
    """A session expires after its lifetime, with the warning before."""
    async with (
        Simulator(dialect="action", expires_in_seconds=0.2, warning_seconds=0.15) as sim,
        connect(sim.url, proxy=None) as ws,
    ):
        client = PlainClient(ws)
        await client.request(ACTION_AUTH, "marketStatus")
        assert await client.documents(2) == [{"action": "refreshAuth"}, {"action": "authExpired"}]
        with pytest.raises(ConnectionClosedError):
            await ws.recv()


async def test_auth_forgotten(sim: Simulator) -> None:
    """After ``authRequired`` no data is sent until the client authenticates."""
    async with envelope_client(sim, QUOTES) as client:
        await sim.inject(faults.ForgetAuth())
        await client.next_with("authRequired")
        assert await sim.quote("AAPL", bidPrice="1") == 0
        await client.request(ENVELOPE_AUTH, "marketStatus")
        assert await sim.quote("AAPL", bidPrice="1") == 1


async def test_a_newer_session_evicts_the_older(sim: Simulator) -> None:
    """With a limit of one session, the second one to authenticate closes the first."""
    await sim.inject(faults.OneSession(code=4001, reason="replaced"))
    async with envelope_client(sim) as older, envelope_client(sim) as newer:
        with pytest.raises(ConnectionClosedError) as closed:
            await older.ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "replaced")
        await newer.request(PING, "pong")


async def test_drop(sim: Simulator) -> None:
    """A drop ends TCP without a closing handshake, only for the selected session."""
    async with envelope_client(sim) as first, envelope_client(sim) as second:
        await sim.inject(faults.Drop(), await sim.connected(1))
        with pytest.raises(ConnectionClosedError) as closed:
            await first.ws.recv()
        assert closed.value.rcvd is None
        await second.request(PING, "pong")


async def test_drop_by_reset(sim: Simulator) -> None:
    """A drop with reset ends TCP by RST."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.Drop(reset=True))
        with pytest.raises(ConnectionClosedError) as closed:
            await client.ws.recv()
        assert isinstance(closed.value.__cause__, ConnectionResetError)


async def test_close_with_code_and_reason(sim: Simulator) -> None:
    """A close has its code and reason, and follows the data sent before."""
    async with envelope_client(sim) as client:
        await sim.send_line(b"last line")
        await sim.inject(faults.Close(code=1012, reason="service restart"))
        assert await client.line() == b"last line"
        with pytest.raises(ConnectionClosed):
            await client.ws.recv()
        assert (client.ws.close_code, client.ws.close_reason) == (1012, "service restart")


async def test_silence_sends_only_pongs(sim: Simulator) -> None:
    """During silence data is skipped and counted, and pings are still answered."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.Silence())
        assert await sim.quote("AAPL", bidPrice="1") == 0
        await client.send(ENVELOPE_AUTH, PING)
        assert (await client.document())["type"] == "pong"
        await (await client.ws.ping())
        assert sim.skipped.lines_by_type == {"quote": 1, "auth": 1, "marketStatus": 1}
        await sim.inject(faults.Heal())
        assert await sim.quote("AAPL", bidPrice="1") == 1


async def test_silence_without_pongs(sim: Simulator) -> None:
    """Silence without pongs answers neither application pings, nor protocol pings, nor a close."""
    async with connect(sim.url, ping_interval=None, close_timeout=0.05, proxy=None) as ws:
        await sim.connected()
        await sim.inject(faults.Silence(pongs=False))
        pong = asyncio.ensure_future(await ws.ping())
        await ws.send(PING)
        await sim.requested(Ping)
        await ws.close()
        assert pong.done()
        assert isinstance(pong.exception(), ConnectionClosedError)
    assert ws.close_code == 1006


@pytest.mark.parametrize(("application", "protocol"), [(True, False), (False, True)])
async def test_no_pongs(sim: Simulator, application: bool, protocol: bool) -> None:  # noqa: FBT001 - parametrised
    """Pings of one type are not answered, and those of the other type are; data is still sent."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.NoPongs(application=application, protocol=protocol))
        pong = asyncio.ensure_future(await client.ws.ping())
        await client.send(PING)
        await sim.requested(Ping)
        await sim.send_line(b'"after"')
        answers = [await client.document()]
        while answers[-1] != "after":
            answers.append(await client.document())
        assert len(answers) == (1 if application else 2)
        assert pong.done() is not protocol
        assert sim.received_counts["ping frame"] == 1


async def test_closing_handshake_never_answered(sim: Simulator) -> None:
    """A client's close frame is not answered, although its pings are."""
    async with connect(sim.url, close_timeout=0.05, proxy=None) as ws:
        await sim.connected()
        await sim.inject(faults.NoClosingHandshake())
        await (await ws.ping())
        await ws.close()
    assert ws.close_code == 1006


@pytest.mark.parametrize(
    ("fault", "retry_after"),
    [
        (faults.Http(status=429, retry_after=3, times=1), "3"),
        (faults.Http(status=503, times=1), None),
        (faults.Http(status=401, times=1), None),
        (faults.Http(status=404, path="/v1/market/ws", times=1), None),
    ],
)
async def test_handshake_answered_by_http(sim: Simulator, fault: faults.Http, retry_after: str | None) -> None:
    """The handshake gets the status and ``Retry-After`` once, then it succeeds."""
    await sim.inject(fault)
    with pytest.raises(InvalidStatus) as refused:
        await connect(sim.url, proxy=None)
    assert refused.value.response.status_code == fault.status
    assert refused.value.response.headers.get("Retry-After") == retry_after
    async with connect(sim.url, proxy=None):
        pass


async def test_one_path_not_found(sim: Simulator) -> None:
    """A fault for one path does not affect the other."""
    await sim.inject(faults.Http(status=404, path="/v1/market/ws"))
    with pytest.raises(InvalidStatus):
        await connect(sim.url_for("envelope"), proxy=None)
    async with connect(sim.url_for("action"), proxy=None):
        pass


async def test_http_faults_apply_in_order(sim: Simulator) -> None:
    """Faults of one type apply in the order in which they were injected."""
    await sim.inject(faults.Http(status=503, times=1))
    await sim.inject(faults.Http(status=429, times=1))
    statuses = []
    for _ in range(2):
        with pytest.raises(InvalidStatus) as refused:
            await connect(sim.url, proxy=None)
        statuses.append(refused.value.response.status_code)
    assert statuses == [503, 429]


async def test_a_redirect(sim: Simulator) -> None:
    """The handshake can be redirected, and a client that follows the redirect connects."""
    await sim.inject(faults.Http(status=307, location=sim.url_for("action"), path="/v1/market/ws"))
    async with connect(sim.url_for("envelope"), proxy=None) as ws:
        assert (await PlainClient(ws).request(ACTION_AUTH, "auth"))["message"] == "success"


@pytest.mark.parametrize("stage", ["connected", "authenticated", "subscribed"])
async def test_cut_short(sim: Simulator, stage: Any) -> None:
    """A connection is closed at a stage, after the responses of that stage."""
    await sim.inject(faults.CutShort(stage=stage, code=1012, times=1))
    async with connect(sim.url, proxy=None) as ws:
        with contextlib.suppress(ConnectionClosed):
            await ws.send(ENVELOPE_AUTH)
            await ws.send(f'{{"type":"subscribe","id":"sub-1","payload":{QUOTES}}}')
        received = [frame async for frame in _until_closed(ws)]
        assert ws.close_code == 1012
    assert len(received) == {"connected": 0, "authenticated": 2, "subscribed": 4}[stage]
    async with envelope_client(sim, QUOTES):
        pass


async def _until_closed(ws: ClientConnection) -> AsyncIterator[bytes | str]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await ws.recv()


async def test_fragments_and_binary_frames(sim: Simulator) -> None:
    """Messages can be sent in fragments or as binary frames, with the same content."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.Fragmented(size_bytes=3))
        await sim.send_line(b'"in pieces"')
        assert [piece async for piece in client.ws.recv_streaming() if piece] == ['"in', " pi", "ece", 's"']
        await sim.inject(faults.Heal())
        await sim.inject(faults.Binary())
        await sim.send_line(b'"binary"')
        assert await client.ws.recv() == b'"binary"'


@pytest.mark.parametrize("how", ["compressed", "masked", "opcode", "long_ping"])
async def test_frames_that_violate_the_protocol(sim: Simulator, how: Any) -> None:
    """A client closes with 1002 after such a frame."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.BadFrame(how=how))
        with pytest.raises(ConnectionClosedError) as closed:
            await client.ws.recv()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1002


async def test_duplicate_auth_response(sim: Simulator) -> None:
    """One authentication gets two responses."""
    await sim.inject(faults.RepeatAuth(times=1))
    async with connect(sim.url, proxy=None) as ws:
        client = PlainClient(ws)
        await client.send(ENVELOPE_AUTH)
        actions = [document["payload"]["action"] for document in await client.documents(3)]
    assert actions == ["authSuccess", "authSuccess", "update"]


async def test_slow_accept(sim: Simulator) -> None:
    """A handshake can be delayed beyond the client's timeout."""
    await sim.inject(faults.SlowAccept(delay_seconds=30, times=1))
    with pytest.raises(TimeoutError):
        await connect(sim.url, open_timeout=0.05, proxy=None)
    async with connect(sim.url, proxy=None):
        pass


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_ping_of_the_server(sim: Simulator, dialect: str) -> None:
    """Pings have an id if the fault has one, and their answers are recorded with it."""
    is_action = dialect == "action"
    async with action_client(sim) if is_action else envelope_client(sim) as client:
        await sim.inject(faults.ServerPing(id="p7", count=2))
        ping: dict[str, object] = {"action": "ping", "id": "p7"} if is_action else {"type": "ping", "id": "p7"}
        assert await client.documents(2) == [ping, ping]
        await client.send(json.dumps({**ping, "message": "pong"} if is_action else {"type": "pong", "id": "p7"}))
        (received,) = await sim.requested(Pong)
    assert received.request == Pong("p7")
    assert sim.sent.lines_by_type["ping"] == 2


@pytest.mark.parametrize("whole", [True, False])
async def test_a_limit_of_symbols(sim: Simulator, whole: bool) -> None:  # noqa: FBT001 - parametrised
    """A request beyond it is rejected as a whole, or in part; symbols that are subscribed already do not count."""
    await sim.inject(faults.SymbolLimit(symbols=2, whole=whole))
    async with envelope_client(sim) as client:
        answers = []
        for number, symbols in enumerate((["A"], ["A", "B", "C"], ["A"], ["C"])):
            objects = [{"symbol": symbol, "quoteFields": "*"} for symbol in symbols]
            await client.send(json.dumps({"type": "subscribe", "id": f"s-{number}", "payload": objects}))
            answers.append(json.dumps(await client.next_with(f"s-{number}")))
        subscribed = set(sim.sessions[0].stream.subscriptions)
    assert ["maximum number of symbols" in answer for answer in answers] == [False, True, False, not whole]
    assert subscribed == ({"A", "C"} if whole else {"A", "B"})


async def test_a_limit_of_frames(sim: Simulator) -> None:
    """A client that sends more frames in a second than allowed is disconnected."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.FrameLimit(frames=5))
        await client.send(*[PING] * 6)
        with pytest.raises(ConnectionClosedError, match="rate limit exceeded"):
            await client.next_with("nothing that is sent")


async def test_arrays_instead_of_lines() -> None:
    """A frame is a JSON array of the messages that it would have as lines."""
    async with Simulator(lines_per_frame=3) as sim, envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.Arrays())
        sim.burst(3)
        assert [one["payload"]["type"] for one in await client.document()] == ["quote"] * 3
        assert sim.sent.lines_by_type["quote"] == 4


async def test_garbage_between_valid_lines(sim: Simulator) -> None:
    """A line that is not JSON is sent in one frame between two valid lines."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.Garbage())
        before, garbage, after = [await client.line() for _ in range(3)]
    assert client.frames[-1].count(b"\n") == 2
    assert json.loads(before)["payload"]["type"] == json.loads(after)["payload"]["type"] == "quote"
    with pytest.raises(json.JSONDecodeError):
        json.loads(garbage)
    assert sim.sent.lines_by_type["quote"] == 3
    assert sim.sent.lines_by_type["raw"] == 1


async def test_not_utf8(sim: Simulator) -> None:
    """A text frame with bytes that are not UTF-8 can be sent."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.NotUtf8())
        with pytest.raises(UnicodeDecodeError):
            (await client.line()).decode()


async def test_unknown_kind_and_field(sim: Simulator) -> None:
    """Updates of unknown kinds, and unknown fields of known kinds, have the format of the dialect."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.UnknownKind(kind="auction", symbol="X", fields={"a": 1}))
        await sim.inject(faults.UnknownField(name="shiny", value=[1]))
        kind, field = await client.documents(2)
    assert kind["payload"]["type"] == "auction"
    assert kind["payload"]["data"] == {"symbol": "X", "a": 1}
    assert field["payload"]["type"] == "quote"
    assert field["payload"]["data"]["shiny"] == [1]


async def test_unknown_field_despite_a_field_list(sim: Simulator) -> None:
    """An unknown field is sent even to a client that selected its fields."""
    asked = '{"action":"subscribe","type":"equityComposite","data":[{"symbol":"AAPL","fields":["bidPrice"]}]}'
    async with action_client(sim, asked) as client:
        await client.document()
        await sim.inject(faults.UnknownField())
        assert (await client.document())["data"].keys() == {"symbol", "bidPrice", "shinyNewField"}


async def test_partial_updates_hold_only_what_changed(sim: Simulator) -> None:
    """With partial updates a field is sent again only if it has changed."""
    async with envelope_client(sim, QUOTES) as client:
        await sim.inject(faults.Partial())
        state = (await client.document())["payload"]["data"]
        await sim.emit(20)
        for _ in range(20):
            changed = (await client.document())["payload"]["data"]
            assert changed.pop("symbol") == "AAPL"
            assert all(state[name] != value for name, value in changed.items())
            state |= changed


async def test_one_symbol_frozen(sim: Simulator) -> None:
    """One symbol has no data and no current state, whoever subscribes to it, until the fault ends."""
    await sim.inject(faults.FreezeSymbol(symbol="AAPL"))
    async with envelope_client(sim) as client:
        await client.request('{"type":"subscribe","id":"s1","payload":[{"symbol":"AAPL"},{"symbol":"GOOGL"}]}', "s1")
        await sim.subscribed("AAPL", "GOOGL")
        assert await sim.quote("AAPL", bidPrice="1") == 0
        await sim.emit(50)
        assert {symbol for _, symbol in sim.sent.records} == {"GOOGL"}
        await sim.inject(faults.Heal())
        assert await sim.quote("AAPL", bidPrice="1") == 1


async def test_odd_values_replace_those_of_generated_updates(sim: Simulator) -> None:
    """Fields that an update has get the values of the fault, as they are; no field is added."""
    async with envelope_client(sim, QUOTES) as client:
        await client.document()
        await sim.inject(faults.OddValues(fields={"bidPrice": None, "askSize": 0.5, "novelty": 1}))
        await sim.emit(1)
        data = (await client.document())["payload"]["data"]
        assert (data["bidPrice"], data["askSize"]) == (None, 0.5)
        assert "novelty" not in data


async def test_no_acks(sim: Simulator) -> None:
    """Subscriptions are accepted without an acknowledgement."""
    await sim.inject(faults.NoAcks())
    async with envelope_client(sim, QUOTES, acknowledged=False) as client:
        assert (await client.document())["payload"]["type"] == "quote"
    assert "ack" not in sim.sent.lines_by_type


async def test_one_symbol_rejected(sim: Simulator) -> None:
    """One symbol is rejected by name, and the other symbol of the same request is subscribed."""
    await sim.inject(faults.RefuseSymbol(symbol="GOOGL", error="not entitled", times=1))
    async with envelope_client(sim) as client:
        answer = await client.request(
            '{"type":"subscribe","id":"s2","payload":[{"symbol":"AAPL"},{"symbol":"GOOGL"}]}', "s2"
        )
        assert answer["payload"]["error"] == "not entitled: GOOGL"
        await sim.subscribed("AAPL")
        assert "GOOGL" not in sim.sessions[0].stream.subscriptions


async def test_giant_frame(sim: Simulator) -> None:
    """A frame has exactly the size and is valid JSON; a client with a smaller limit closes with 1009."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.GiantFrame(size_bytes=1_000_000))
        line = await client.line()
        assert len(line) == 1_000_000
        assert json.loads(line)["payload"]["type"] == "padding"
        await sim.inject(faults.GiantFrame(size_bytes=1_100_000))
        with pytest.raises(ConnectionClosedError) as closed:
            await client.line()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1009


async def test_burst(sim: Simulator) -> None:
    """A burst sends its events at once."""
    async with envelope_client(sim, QUOTES) as client:
        await sim.inject(faults.Burst(events=50))
        assert sim.sent.lines_by_type["quote"] == 51
        await client.documents(51)


async def test_market_by_fault(sim: Simulator) -> None:
    """The market can be closed by a fault."""
    async with envelope_client(sim) as client:
        await sim.inject(faults.SetMarket(status=MarketState.CLOSED))
        assert (await client.document())["payload"]["data"]["market"] == "closed"


def test_every_fault_has_a_name() -> None:
    """Each fault type of the module has a name in scripts."""
    types = {value for value in vars(faults).values() if isinstance(value, type) and issubclass(value, faults.Fault)}
    assert set(FAULTS.values()) == types - {faults.Fault, faults.ServerFault, faults.SessionFault, faults.LastingFault}
    assert all(FAULTS[name] is fault for name, fault in [("drop", faults.Drop), ("not_utf8", faults.NotUtf8)])
    assert faults.NotUtf8().script_name == "not_utf8"
