"""The simulator's REST endpoints: what is listed by its clock, in pages, and wrong answers by script."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from bridge.simulator.fault_script import parse_script
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = {"Authorization": "Bearer token"}
SNAPSHOT = "/v1/options/snapshot/chain/AAPL"


def clock(text: str) -> Callable[[], int]:
    """Return a clock that stands at a time in UTC."""
    return lambda: int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def get(simulator: Simulator, path: str, headers: dict[str, str] = TOKEN) -> tuple[int, Any]:
    """Return the status and the document of an answer."""
    async with aiohttp.ClientSession() as client, client.get(simulator.api_url + path, headers=headers) as response:
        return response.status, await response.json()


async def tickers(simulator: Simulator, path: str = SNAPSHOT) -> list[str]:
    """Return the tickers of all pages."""
    found: list[str] = []
    while path:
        status, document = await get(simulator, path)
        assert status == 200
        found += [result["details"]["ticker"] for result in document["results"]]
        next_url = urlsplit(document.get("nextUrl", ""))
        path = f"{next_url.path}?{next_url.query}" if next_url.path else ""
    return found


async def test_pages() -> None:
    """A chain comes in pages, each contract once, with the price of the underlying."""
    async with Simulator(clock=clock("2026-11-27T15:00")) as simulator:
        await simulator.trade("AAPL", lastPrice="150.00")
        found = await tickers(simulator)
        assert (
            len(found) == len(set(found)) == len(simulator.chains.listed("AAPL")) > simulator.chain_endpoint.page_size
        )
        _, document = await get(simulator, SNAPSHOT)
        assert document["results"][0]["underlyingAsset"] == {"price": 150.0, "ticker": "AAPL"}
        assert {ticker[6:12] for ticker in found} >= {"261127", "261204"}


async def test_contracts_expire_by_the_clock_of_the_exchange() -> None:
    """A contract is listed until its date ends in New York, in summer and in winter."""
    for date, last, gone in (
        ("261127", "2026-11-28T04:59", "2026-11-28T05:00"),
        ("260703", "2026-07-04T03:59", "2026-07-04T04:00"),
    ):
        for time, is_listed in ((last, True), (gone, False)):
            async with Simulator(clock=clock(time)) as simulator:
                assert any(ticker[6:12] == date for ticker in await tickers(simulator)) is is_listed


async def test_strikes_follow_the_price() -> None:
    """More strikes are listed when the price runs away; those before stay."""
    async with Simulator(clock=clock("2026-11-27T15:00")) as simulator:
        await simulator.trade("AAPL", lastPrice="150.00")
        before = set(await tickers(simulator))
        await simulator.trade("AAPL", lastPrice="250.00")
        after = set(await tickers(simulator))
        assert before < after


async def test_contracts_of_an_expiration() -> None:
    """They are calls and puts, or in the old shape one list; a date without contracts is not found."""
    path = "/v1/options/AAPL/contracts/2026-12-18"
    async with Simulator(clock=clock("2026-11-27T15:00")) as simulator:
        simulator.chains.list_only("AAPL", ["AAPL261218C00150000", "AAPL261218P00150000", "AAPL270115C00150000"])
        _, document = await get(simulator, path)
        assert document["calls"] == [{"symbol": "O:AAPL261218C00150000", "strikePrice": 150.0}]
        assert document["puts"] == [{"symbol": "O:AAPL261218P00150000", "strikePrice": 150.0}]
        await simulator.inject(ChainAnswer(old=True, times=1))
        _, document = await get(simulator, path)
        assert [contract["type"] for contract in document["contracts"]] == ["call", "put"]
        assert (await get(simulator, "/v1/options/AAPL/contracts/2026-12-25"))[0] == 404


async def test_only_accepted_tokens() -> None:
    """Another token is rejected, as on the socket."""
    async with Simulator(tokens=["good"]) as simulator:
        assert (await get(simulator, SNAPSHOT))[0] == 401
        assert (await get(simulator, SNAPSHOT, {"Authorization": "Bearer good"}))[0] == 200
        assert (await get(simulator, SNAPSHOT, {}))[0] == 401


async def test_wrong_answers() -> None:
    """A script can let any answer fail, each as often as it says."""
    script = parse_script([{"at": 0, "fault": "chain_answer", "status": 429, "retry_after": 7, "times": 1}])
    async with Simulator(script=script) as simulator:
        await simulator.wait_for(lambda: simulator.active_faults.find(ChainAnswer), what="the fault")
        async with aiohttp.ClientSession() as client:
            url = simulator.api_url + SNAPSHOT
            async with client.get(url, headers=TOKEN) as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "7")
            await simulator.inject(ChainAnswer(half="bytes", times=1))
            async with client.get(url, headers=TOKEN) as response:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
            await simulator.inject(ChainAnswer(html=True, times=1))
            async with client.get(url, headers=TOKEN) as response:
                assert (response.status, response.content_type) == (200, "text/html")
            await simulator.inject(ChainAnswer(next_host="http://localhost:8087", times=1))
            async with client.get(url, headers=TOKEN) as response:
                assert (await response.json())["nextUrl"].startswith(f"http://localhost:8087{SNAPSHOT}?")
            async with client.get(url, headers=TOKEN) as response:
                assert response.status == 200


async def test_only_what_exists() -> None:
    """A server with a list of symbols lists the options among them."""
    async with Simulator(symbols=["AAPL", "AAPL270115C00150000"], clock=clock("2026-11-27T15:00")) as simulator:
        assert await tickers(simulator) == ["O:AAPL270115C00150000"]
