"""The preflight resolves option chains once, and reports what the bridge would subscribe to."""

from __future__ import annotations

import json

import pytest

from bridge.check.report import Status
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator
from tests.check.results import NO_KAFKA, Results, run_preflight

CHAIN = "Option chains"
LISTED = [f"AAPL270115{right}{strike * 1000:08d}" for strike in range(90, 111) for right in "CP"]


async def results(simulator: Simulator, *, session: bool = True, **more: object) -> Results:
    """Return the results with a chain of AAPL."""
    simulator.chains.list_only("AAPL", LISTED)
    await simulator.trade("AAPL", lastPrice="100.50")
    entry = {"underlying": "AAPL", "expires_within_days": 3000, "strikes": {"around": 2}, **more}
    environ = {
        **NO_KAFKA,
        "ARIES_WS_URL": simulator.url,
        "ARIES_ACCESS_TOKEN": "a-good-token",
        "ARIES_SUBSCRIPTIONS": json.dumps([entry]),
    }
    return await run_preflight(environ, session=session)


async def test_what_it_would_subscribe_to() -> None:
    """The contracts are counted, with their expirations and strikes, and one of them is subscribed to."""
    async with Simulator(rate=100) as simulator:
        found = await results(simulator)
        found.expect(CHAIN, Status.OK, "AAPL: 8 contracts of 1 expirations", "strikes 99 to 102")
        assert "AAPL270115C00099000" in str(found["Aries subscription"])


async def test_too_many() -> None:
    """What max_contracts leaves out is a warning."""
    async with Simulator(rate=100) as simulator:
        found = await results(simulator, max_contracts=3)
        found.expect(CHAIN, Status.WARN, "5 more are left out by max_contracts (3)", "narrow")


@pytest.mark.parametrize(
    ("fault", "text"), [(ChainAnswer(status=403), "options:information"), (ChainAnswer(html=True), "not JSON")]
)
async def test_a_chain_that_cannot_be_resolved(fault: ChainAnswer, text: str) -> None:
    """It fails with the reason; the session is checked with the underlying instead."""
    async with Simulator(rate=100) as simulator:
        await simulator.inject(fault)
        found = await results(simulator)
        found.expect(CHAIN, Status.FAIL, text, "keeps trying")
        assert "AAPL" in str(found["Aries subscription"])


async def test_nothing_is_listed_within_the_limits() -> None:
    """It is no failure: a contract may be listed tomorrow."""
    async with Simulator(rate=100) as simulator:
        found = await results(simulator, strikes={"from": 5000})
        found.expect(CHAIN, Status.OK, "AAPL: no contract is within the limits of the entry")


async def test_without_a_session() -> None:
    """A fixed token is used, too, if no session may be opened."""
    async with Simulator() as simulator:
        (await results(simulator, session=False)).expect(CHAIN, Status.OK, "8 contracts")
