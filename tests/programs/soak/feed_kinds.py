"""Faults of the feed: of the Aries server, of its token endpoint, and of the network before them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.simulator import faults
from bridge.simulator.market_status import MarketState
from bridge.simulator.requests import Authenticate
from tests.faults.proxy import Direction
from tests.programs.soak.plan import Family, Kind, between, one_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from typing import Any

    from bridge.simulator.faults import Fault
    from tests.programs.soak.plan import Play
    from tests.programs.soak.testbed import Testbed

CLIENT_SECONDS = 10.0
MANY = 10_000
CLOSE_CODES = (1000, 1001, 1008, 1011, 1012, 1013, 3000, 4000, 4401, 4429)
_SECONDS = between(1, 5)
RIVAL = "rival-token"
_BAD_LINE = b'{"type":"event","payload":{"action":"upd\n'
_FLOOD_INTERVAL_SECONDS = 0.1


def feed_kinds() -> tuple[Kind, ...]:
    """Return all kinds."""
    yes_or_no = one_of(*(False, True))
    some = whole(1, 20)
    immediate, lasting, on_reconnect = _immediate, _lasting, _on_reconnect
    return (
        immediate("dropped", faults.Drop, reset=yes_or_no),
        immediate("closed", faults.Close, code=one_of(*CLOSE_CODES), reason=one_of("", "going away", "rate limit")),
        immediate("session_expires", faults.Expire, warning_seconds=one_of(0, 1, 3), close=yes_or_no),
        immediate("authentication_forgotten", faults.ForgetAuth),
        immediate("garbage", faults.Garbage, repeated=some),
        immediate("not_utf8", faults.NotUtf8, repeated=some),
        immediate("unknown_kind", faults.UnknownKind, repeated=some),
        immediate("unknown_field", faults.UnknownField, repeated=some),
        immediate("giant_frame", faults.GiantFrame, size_bytes=one_of(2 << 20, 15 << 20, 17 << 20)),
        immediate("burst", faults.Burst, events=whole(2_000, 20_000)),
        lasting("silence", faults.Silence, seconds=between(1, 8), pongs=yes_or_no),
        lasting("no_pongs", faults.NoPongs, seconds=between(1, 6), application=yes_or_no, protocol=yes_or_no),
        lasting("partial_updates", faults.Partial, seconds=_SECONDS),
        lasting("arrays", faults.Arrays, seconds=_SECONDS),
        immediate("server_pings", faults.ServerPing, count=some),
        lasting("odd_values", faults.OddValues, seconds=_SECONDS),
        on_reconnect("authentication_refused", faults.RefuseAuth, close=yes_or_no),
        on_reconnect("authentication_ignored", faults.IgnoreAuth, times=one_of(1)),
        on_reconnect("authentication_late", faults.LateAuth, delay_seconds=between(0.5, 4)),
        on_reconnect(
            "handshake_refused", faults.Http, status=one_of(401, 404, 429, 500, 503), retry_after=one_of(None, 1)
        ),
        on_reconnect("handshake_slow", faults.SlowAccept, delay_seconds=between(0.5, 4)),
        on_reconnect("no_acknowledgements", faults.NoAcks),
        on_reconnect("symbol_refused", faults.RefuseSymbol, symbol=one_of("AB", "SPX")),
        on_reconnect("closing_unanswered", faults.NoClosingHandshake),
        _kind("blank_frame", blank_frame, size_bytes=one_of(1 << 18, 1 << 20, 8 << 20)),
        _kind("frame_of_short_lines", frame_of_short_lines, size_bytes=one_of(1 << 20, 8 << 20)),
        _kind("dead_letter_flood", dead_letter_flood, lines_per_second=one_of(2_000, 5_000), seconds=between(2, 5)),
        _kind("idle", idle, seconds=between(20, 40)),
        _kind("market_closed", market_closed, seconds=between(1, 8)),
        _kind("evicted", evicted),
        _kind("tokens_refused", tokens_refused, how=one_of("503", "html", "slow", "throttled"), seconds=_SECONDS),
        _kind("network_cut", network_cut, after_bytes=one_of(0, 1, 777, 50_000), reset=yes_or_no),
        _kind(
            "black_hole",
            black_hole,
            direction=one_of("both", *(str(one.name) for one in Direction)),
            seconds=between(1, 8),
        ),
        _kind("network_slow", network_slow, chunk_bytes=one_of(20_000, 60_000), seconds=_SECONDS),
        _kind("connections_refused", connections_refused, seconds=_SECONDS),
    )


def _kind(name: str, play: Play, **draws: Callable[[Random], Any]) -> Kind:
    return Kind(name, Family.FEED, play, draws)


def _immediate(name: str, fault: type[Fault], **draws: Callable[[Random], Any]) -> Kind:
    return _kind(name, partial(_inject, fault), **draws)


def _lasting(name: str, fault: type[Fault], **draws: Callable[[Random], Any]) -> Kind:
    return _kind(name, partial(_inject_for, fault), **draws)


def _on_reconnect(name: str, fault: type[Fault], **draws: Callable[[Random], Any]) -> Kind:
    return _kind(name, partial(_reconnect_under, fault), seconds=_SECONDS, **draws)


async def _inject(fault: type[Fault], testbed: Testbed, repeated: int = 1, **parameters: Any) -> None:
    await _client(testbed)
    for _ in range(repeated):
        testbed.simulator.inject_nowait(fault(**parameters))
        await asyncio.sleep(0.02)


async def _inject_for(fault: type[Fault], testbed: Testbed, seconds: float, **parameters: Any) -> None:
    await _client(testbed)
    testbed.simulator.inject_nowait(fault(**parameters))
    await asyncio.sleep(seconds)
    testbed.simulator.active_faults.clear()


async def _reconnect_under(fault: type[Fault], testbed: Testbed, seconds: float, **parameters: Any) -> None:
    """Drop the connection, with a fault active while the bridge reconnects."""
    await _client(testbed)
    testbed.simulator.inject_nowait(fault(**parameters))
    testbed.simulator.inject_nowait(faults.Drop())
    await asyncio.sleep(seconds)
    testbed.simulator.active_faults.clear()


async def blank_frame(testbed: Testbed, size_bytes: int) -> None:
    """Send a frame of newlines."""
    await _client(testbed)
    _send_frame(testbed, b"\n" * size_bytes)


async def frame_of_short_lines(testbed: Testbed, size_bytes: int) -> None:
    """Send a frame of lines that are as short as valid ones can be; they hold no data."""
    await _client(testbed)
    for session in testbed.simulator.sessions:
        line = json.dumps(session.dialect.pong(None), separators=(",", ":")).encode() + b"\n"
        session.stream.send_frame(line * (size_bytes // len(line)))


async def dead_letter_flood(testbed: Testbed, lines_per_second: int, seconds: float) -> None:
    """Send many lines a second that are not JSON."""
    await _client(testbed)
    for _ in range(round(seconds / _FLOOD_INTERVAL_SECONDS)):
        _send_frame(testbed, _BAD_LINE * round(lines_per_second * _FLOOD_INTERVAL_SECONDS))
        await asyncio.sleep(_FLOOD_INTERVAL_SECONDS)


async def idle(testbed: Testbed, seconds: float) -> None:
    """Close the market for longer than brokers keep idle connections here."""
    await market_closed(testbed, seconds)


def _send_frame(testbed: Testbed, data: bytes) -> None:
    for session in testbed.simulator.sessions:
        session.stream.send_frame(data)


async def market_closed(testbed: Testbed, seconds: float) -> None:
    """Close the market for a time; no data is sent."""
    testbed.simulator.inject_nowait(faults.SetMarket(status=MarketState.CLOSED))
    await asyncio.sleep(seconds)
    testbed.simulator.inject_nowait(faults.SetMarket(status=MarketState.OPEN))


async def evicted(testbed: Testbed) -> None:
    """Let another client take over the only session; the bridge takes it back."""
    simulator = testbed.simulator
    await _client(testbed)
    simulator.tokens.accept(RIVAL)
    testbed.simulator.inject_nowait(faults.OneSession())
    body = {"action": "auth", "token": RIVAL}
    request = {"type": "request", "id": "r", "payload": {"method": "post", "path": "/auth", "body": body}}
    with suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(CLIENT_SECONDS), connect(simulator.url_for("envelope"), compression=None) as rival:
            await rival.send(json.dumps(request))
            async for _ in rival:
                pass
    simulator.active_faults.clear()
    for received in simulator.received:
        if isinstance(received.request, Authenticate) and received.request.token == RIVAL:
            testbed.connection_log.exclude(received.session)


async def tokens_refused(testbed: Testbed, how: str, seconds: float) -> None:
    """Reject all tokens, while the endpoint issues none."""
    endpoint = testbed.tokens
    await _client(testbed)
    match how:
        case "503":
            endpoint.fail(503, times=MANY)
        case "html":
            endpoint.answer_html(times=MANY)
        case "slow":
            endpoint.delay(2, times=MANY)
        case _:
            endpoint.throttle(1, times=MANY)
    testbed.simulator.tokens.reject(*endpoint.issued)
    testbed.simulator.inject_nowait(faults.Drop())
    await asyncio.sleep(seconds)
    endpoint.clear_responses()


async def network_cut(testbed: Testbed, after_bytes: int, *, reset: bool) -> None:
    """Cut the connection after a number of bytes, perhaps within a frame."""
    await _client(testbed)
    testbed.network.cut(after_bytes=after_bytes, reset=reset)
    await asyncio.sleep(1)
    testbed.network.heal()


async def black_hole(testbed: Testbed, direction: str, seconds: float) -> None:
    """Drop all bytes in one direction or both."""
    testbed.network.black_hole(*([] if direction == "both" else [Direction[direction]]))
    await asyncio.sleep(seconds)
    testbed.network.heal()


async def network_slow(testbed: Testbed, chunk_bytes: int, seconds: float) -> None:
    """Limit the bandwidth."""
    testbed.network.slow(chunk_bytes=chunk_bytes, pause_seconds=0.1)
    await asyncio.sleep(seconds)
    testbed.network.heal()


async def connections_refused(testbed: Testbed, seconds: float) -> None:
    """Accept connections and close them at once."""
    testbed.network.turn_away()
    testbed.network.cut()
    await asyncio.sleep(seconds)
    testbed.network.heal()


async def _client(testbed: Testbed) -> None:
    """Wait for an authenticated client, but not for long: another fault may keep the bridge from connecting."""
    with suppress(TimeoutError):
        await testbed.simulator.wait_for(
            lambda: any(session.authenticated for session in testbed.simulator.sessions),
            timeout_seconds=CLIENT_SECONDS,
        )
