"""Subscriptions are rejected, not answered, or changed at an unfavourable moment."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.requests import Pong
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import by_symbol, eventually, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.feed.scene import Stage

CHANGED = "subscriptions changed"
NOT_USABLE = "new subscriptions rejected, keeping current ones"


async def test_a_rejected_symbol_affects_no_other(stage: Stage) -> None:
    """If the server rejects one symbol of many, it is reported by name, and all others are published."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.RefuseSymbol(symbol="NOPE"))
        async with stage.bridge(simulator, ARIES_SYMBOLS="A,B,C,NOPE,D,E,F") as scene:
            await simulator.subscribed("A", "B", "C", "D", "E", "F")
            for symbol in "ABCDEF":
                await scene.flows(symbol)
            await eventually(lambda: scene.logged("subscribed"), "all requests are answered")
        [refused] = scene.logged("symbol rejected by Aries")
        assert (refused["symbol"], refused["answer"]) == ("NOPE", "unknown symbol: NOPE")
        assert not scene.causes
    announced = await scene.proof()
    assert "6 symbols, 1 refused" in [record["reason"] for record in announced if record["kind"] == "SUBSCRIBED"]


@pytest.mark.parametrize("dialect", ["action", "envelope"])
@pytest.mark.parametrize("whole", [True, False])
async def test_as_many_symbols_are_published_as_the_account_may_have(dialect: str, whole: bool, stage: Stage) -> None:  # noqa: FBT001 - a case
    """The rest is reported once, shown as rejected, and not requested in the next session."""
    symbols = [f"S{number}" for number in range(250)]
    settings = {"ARIES_SYMBOLS": ",".join(symbols), "ARIES_EVENTS": "quotes"}
    async with Simulator(dialect=dialect) as simulator:  # type: ignore[arg-type]  # a dialect
        await simulator.inject(faults.SymbolLimit(symbols=220, whole=whole))
        async with stage.bridge(simulator, **settings) as scene:
            await eventually(lambda: scene.logged("subscribed"), "all requests are answered")
            served = [symbol for symbol in symbols if symbol in simulator.sessions[0].stream.subscriptions]
            requests = simulator.received_counts["Subscribe"]
            await scene.flows(served[-1])
            await simulator.inject(faults.Close())
            await eventually(lambda: len(scene.logged("subscribed")) >= 2, "all requests are answered again")
            assert list(simulator.sessions[0].stream.subscriptions) == served
            assert scene.bridge.client.session is not None
            assert scene.bridge.client.session.rejected_symbols == set(symbols) - set(served)
            await scene.flows(served[0], sessions=2)
        assert len(served) == 220
        assert requests <= 20
        assert simulator.received_counts["Subscribe"] == requests + 2
        [reached] = scene.logged("symbol limit of Aries reached, rest of the symbols left out")
        assert (reached["served"], reached["left_out"], len(reached["symbols"])) == (220, 30, 10)
        assert not scene.logged("symbol rejected by Aries")
        assert [line["refused_symbols"] for line in scene.logged("subscribed")] == [30, 30]
    await scene.proof(DisconnectCause.CLOSED)


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_server_that_allows_few_frames_gets_no_more(dialect: str, stage: Stage) -> None:
    """Requests for thousands of symbols are paced, and none is refused, even if those of two seconds come at once."""
    symbols = [f"S{number}" for number in range(3000)]
    settings = {"ARIES_SYMBOLS": ",".join(symbols), "ARIES_EVENTS": "quotes", "ARIES_MAX_FRAMES_PER_SECOND": "5"}
    async with Simulator(dialect=dialect) as simulator:  # type: ignore[arg-type]  # a dialect
        await simulator.inject(faults.FrameLimit(frames=10))
        async with stage.bridge(simulator, **settings) as scene:
            await eventually(lambda: scene.logged("subscribed"), "all requests are answered")
            await scene.flows(symbols[-1])
        assert not scene.causes
    await scene.proof()


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_pings_arrays_and_heartbeats_of_the_server_cost_nothing(dialect: str, stage: Stage) -> None:
    """Pings are answered, arrays are their elements, words are filtered, and every line is accounted for."""
    async with Simulator(dialect=dialect, lines_per_frame=50) as simulator:  # type: ignore[arg-type]  # a dialect
        async with stage.bridge(simulator) as scene:
            await scene.flows()
            await simulator.inject(faults.Arrays())
            await simulator.inject(faults.Burst(events=5_000))
            await simulator.inject(faults.ServerPing(id="p7", count=3))
            for word in ("heartbeat", "1", "pong"):
                await simulator.inject(faults.Garbage(line=word))
            await simulator.requested(Pong, 3)
            await scene.takes(simulator.sent.lines)
        accounts = scene.bridge.accounts
        assert accounts.lines_received == simulator.sent.lines
        assert (accounts.filtered["ping"], accounts.filtered["heartbeat"]) == (3, 3)
        assert not accounts.dead_lettered
        assert not scene.causes
    await scene.proof()


async def test_several_symbols_rejected_in_one_request_are_reported_by_name(stage: Stage) -> None:
    """With an error without an id for each bad option, only these are left out, whichever request was sent first."""
    bad = [f"EQ9270115C0010000{number}" for number in range(5)]
    good = ["A", "EQ2", "B", "A290119C00150000", "B290119C00150000"]
    async with Simulator(dialect="action") as simulator:
        for symbol in bad:
            await simulator.inject(faults.RefuseSymbol(symbol=symbol, error="no such option"))
        async with stage.bridge(simulator, ARIES_SYMBOLS=",".join([*good[:4], *bad, *good[4:]])) as scene:
            await eventually(lambda: scene.logged("subscribed"), "all requests are answered")
            assert scene.bridge.client.session is not None
            assert scene.bridge.client.session.rejected_symbols == set(bad)
            for symbol in good:
                await scene.flows(symbol)
        rejected = scene.logged("symbol rejected by Aries")
        assert {line["symbol"]: line["answer"] for line in rejected} == {one: f"no such option: {one}" for one in bad}
        assert "retrying in halves" in scene.logged("error message from Aries")[0]["answer"]
        assert [(line["symbols"], line["refused"]) for line in scene.logged("subscribed")] == [(5, bad)]
        assert not scene.causes
    await scene.proof()


async def test_subscriptions_without_acknowledgements_are_active(stage: Stage) -> None:
    """If a server never acknowledges, the first data makes the bridge ready."""
    async with Simulator(dialect="action") as simulator:
        await simulator.inject(faults.NoAcks())
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Drop())
            await scene.flows(sessions=2)
    await scene.proof(DisconnectCause.NETWORK)


async def test_a_change_is_applied_on_the_open_connection(stage: Stage, tmp_path: Path) -> None:
    """The difference to a changed file is applied without a reconnect; an unreadable file changes nothing."""
    file = tmp_path / "subscriptions.json"
    file.write_text('[{"symbol":"AAPL"},{"symbol":"MSFT"}]')
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS_FILE=str(file)) as scene:
            await scene.flows("MSFT", sessions=1)
            file.write_text('[{"symbol":"AAPL"},{"symb')
            await eventually(lambda: scene.logged(NOT_USABLE), "the complaint")
            await scene.flows("MSFT")
            file.write_text('[{"symbol":"AAPL"},{"symbol":"TSLA"}]')
            await simulator.unsubscribed("MSFT")
            await scene.flows("TSLA")
            await scene.flows("AAPL")
            applied = scene.bridge.plans.own.fingerprint, scene.bridge.plans.applied_us > scene.bridge.started_us
        [changed] = scene.logged(CHANGED)
        assert len(scene.logged(NOT_USABLE)) == len(scene.logged("session started")) == 1
        assert (changed["added_symbols"], changed["removed_symbols"], changed["changed"]) == (("TSLA",), ("MSFT",), 0)
        assert applied == (changed["fingerprint"], True)
    announced = await scene.proof()
    [record] = [record for record in announced if record["kind"] == "PLAN_CHANGED"]
    assert record["reason"] == "2 symbols: 1 added (TSLA), 1 removed (MSFT)"


async def test_a_change_while_disconnected_is_applied_in_the_next_session(stage: Stage, tmp_path: Path) -> None:
    """Removed symbols are not requested again; added ones are."""
    file = tmp_path / "subscriptions.json"
    file.write_text('[{"symbol":"AAPL"},{"symbol":"MSFT"}]')
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS_FILE=str(file)) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Http(status=503))
            await simulator.inject(faults.Drop())
            await scene.loses()
            file.write_text('[{"symbol":"AAPL"},{"symbol":"TSLA"}]')
            await eventually(lambda: scene.logged(CHANGED), "the change")
            simulator.active_faults.clear()
            await scene.flows("TSLA", sessions=2)
            await simulator.unsubscribed("MSFT")
    await scene.proof(DisconnectCause.NETWORK)


async def test_a_symbol_that_is_added_again_continues_its_seq(stage: Stage, tmp_path: Path) -> None:
    """Its ``seq`` continues, so that its return does not look like a loss."""
    file = tmp_path / "subscriptions.json"
    both, one = '[{"symbol":"AAPL"},{"symbol":"MSFT"}]', '[{"symbol":"AAPL"}]'
    file.write_text(both)
    async with Simulator(dialect="action") as simulator:
        async with stage.bridge(simulator, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS_FILE=str(file)) as scene:
            await scene.flows("MSFT", sessions=1)
            file.write_text(one)
            await simulator.unsubscribed("MSFT")
            file.write_text(both)
            await scene.flows("MSFT")
        assert len(scene.logged("session started")) == 1
        quotes = by_symbol(await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES))[Topic.QUOTES, "MSFT"]
        assert [quote["seq"] for quote in quotes] == list(range(len(quotes)))
        assert len(quotes) >= 4
    await scene.proof()


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_data_of_an_unsubscribed_symbol_is_not_published(dialect: Any, stage: Stage, tmp_path: Path) -> None:
    """If a server ignores ``unsubscribe``, the symbol's lines are filtered."""
    file = tmp_path / "subscriptions.json"
    file.write_text('[{"symbol":"AAPL"},{"symbol":"MSFT"}]')
    quotes = {
        "action": b'{"type":"equityComposite","data":{"symbol":"MSFT","bidPrice":"9.99"}}',
        "envelope": b'{"type":"event","payload":{"action":"update","type":"quote",'
        b'"data":{"symbol":"MSFT","bidPrice":9.99}}}',
    }
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS_FILE=str(file)) as scene:
            await scene.flows("MSFT", sessions=1)
            file.write_text('[{"symbol":"AAPL"}]')
            await simulator.unsubscribed("MSFT")
            for _ in range(5):
                await simulator.send_line(quotes[dialect])
            await scene.flows("AAPL")
            assert scene.bridge.accounts.filtered["not_subscribed"] == 5
    found = by_symbol(await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES))[Topic.QUOTES, "MSFT"]
    assert found
    assert all(quote["bid_price"] != Decimal("9.99") for quote in found)
    await scene.proof()
