"""``aries-bridge subscriptions``: the plan with its chains resolved, without a session and without Kafka."""

from __future__ import annotations

import json

from bridge.aries.subscriptions.shards import shard_of
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator
from tests.support.process import process

LISTED = [f"AAPL270115{right}{strike * 1000:08d}" for strike in range(90, 111) for right in "CP"]
CHAIN = {"underlying": "AAPL", "expires_within_days": 3000, "strikes": {"around": 2}, "events": ["quotes"]}


def environ(simulator: Simulator, *entries: object, **more: str) -> dict[str, str]:
    return {
        "ARIES_WS_URL": simulator.url,
        "ARIES_ACCESS_TOKEN": "a-secret-token",
        "ARIES_SUBSCRIPTIONS": json.dumps(entries),
        **more,
    }


async def test_lines() -> None:
    """Each symbol is a line with its type and events; nothing but the chain is requested."""
    async with Simulator() as simulator:
        simulator.chains.list_only("AAPL", LISTED)
        await simulator.trade("AAPL", lastPrice="100.50")
        async with process(environ(simulator, "MSFT", CHAIN), "subscriptions") as command:
            assert await command.ended() == 0
        assert not simulator.all_sessions
    lines = [line.split() for line in command.output.splitlines()]
    assert lines[0] == ["MSFT", "equity", "l2,quotes,timesales,trades"]
    assert lines[1] == ["AAPL270115C00099000", "option", "quotes"]
    assert lines[-1] == ["9", "symbols"]


async def test_json_of_a_shard() -> None:
    """JSON has the form of the setting; two shards have together what one has."""
    async with Simulator() as simulator:
        simulator.chains.list_only("AAPL", LISTED)
        await simulator.trade("AAPL", lastPrice="100.50")
        found = []
        for shard in ("0", "1"):
            more = {"BRIDGE_SHARDS": "2", "BRIDGE_SHARD": shard}
            async with process(environ(simulator, CHAIN, **more), "subscriptions", "--json", "--own") as command:
                assert await command.ended() == 0
            found += [entry["symbol"] for entry in json.loads(command.output)]
    assert len(found) == len(set(found)) == 8


async def test_shards_of_a_group() -> None:
    """Each symbol has its shard; as no bridge has one of its own, --own is an error that says so."""
    async with Simulator() as simulator:
        grouped = {**environ(simulator, "AAPL", "MSFT", "SPX"), "BRIDGE_SHARD": "group", "BRIDGE_SHARDS": "3"}
        async with process(grouped, "subscriptions") as command:
            assert await command.ended() == 0
        async with process(grouped, "subscriptions", "--own") as own:
            assert await own.ended() == 2
    shards = {line.split()[0]: int(line.rpartition(" shard ")[2]) for line in command.output.splitlines()[:3]}
    assert shards == {symbol: shard_of(symbol, 3) for symbol in ("AAPL", "MSFT", "SPX")}
    assert "no bridge has a shard of its own" in " ".join("".join(own.text).replace("│", "").split())


async def test_a_chain_that_cannot_be_resolved() -> None:
    """The rest is printed, the reason is on standard error without the token, and the exit code is 1."""
    async with Simulator() as simulator:
        await simulator.inject(ChainAnswer(status=403, message="a-secret-token"))
        async with process(environ(simulator, "MSFT", CHAIN), "subscriptions") as command:
            assert await command.ended() == 1
    assert "1 symbols" in command.output
    text = " ".join(command.text)
    assert "the chain of AAPL is not resolved" in text
    assert "options:information" in text
    assert "a-secret-token" not in text


async def test_invalid_settings() -> None:
    """They end the command with their problems and exit code 2."""
    async with Simulator() as simulator:
        async with process(environ(simulator, {"underlying": "AAPL"}), "subscriptions") as command:
            assert await command.ended() == 2
    assert "expires_within_days" in " ".join(command.text)
