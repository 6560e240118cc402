"""The token is rejected, not answered, forgotten or expired; ``tests/cli/test_run.py`` covers exit code 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.aries.protocol import authentication
from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.requests import Authenticate, Subscribe
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.feed.scene import take_away_jitter
from tests.support.service import by_symbol, read

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.faults.feed.scene import Stage


async def test_a_token_that_can_change_is_retried_at_growing_intervals(stage: Stage, tmp_path: Path) -> None:
    """The first rejection reads the file again at once; then it is retried ever more slowly until that changes."""
    file = tmp_path / "token"
    file.write_text("stale-token\n")
    async with Simulator(dialect="envelope", tokens=["good-token"]) as simulator:
        slow = {"ARIES_BACKOFF_MIN_SECONDS": "0.01", "ARIES_BACKOFF_MAX_SECONDS": "0.03"}
        async with stage.bridge(simulator, ARIES_ACCESS_TOKEN="", ARIES_ACCESS_TOKEN_FILE=str(file), **slow) as scene:
            take_away_jitter(scene.bridge)
            await scene.loses(6)
            file.write_text("good-token\n")
            await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.AUTH_REFUSED}
        assert [line["retry_seconds"] for line in scene.losses[:6]] == [0, 0.04, 0.08, 0.12, 0.12, 0.12]
        assert "authentication failed" in scene.losses[0]["reason"]
        assert "stale-token" not in str(scene.logs)
    await scene.proof()


async def test_a_token_that_is_never_answered_has_a_deadline(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer the token is disconnected at the deadline; a late answer is still accepted."""
    monkeypatch.setattr(authentication, "AUTH_TIMEOUT_SECONDS", 0.3)
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.IgnoreAuth(times=1))
        await simulator.inject(faults.LateAuth(delay_seconds=0.1, times=1))
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
        assert scene.causes == [DisconnectCause.AUTH_TIMEOUT]
        assert "did not answer the authentication request within 0.3 s" in scene.losses[0]["reason"]
    await scene.proof()


async def test_a_repeated_answer_starts_one_session(stage: Stage) -> None:
    """A second acceptance starts no second session: nothing is requested twice, and ``seq`` does not start again."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.RepeatAuth())
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await scene.flows()
        assert len(scene.logged("session started")) == 1
        assert simulator.received_counts[Subscribe.__name__] == 1
    await scene.proof()


async def test_data_before_the_answer_starts_the_session(stage: Stage) -> None:
    """If a server sends data before it accepts the token, or never accepts it, no line is lost."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.IgnoreAuth(times=1))
        async with stage.bridge(simulator) as scene:
            await simulator.requested(Authenticate)
            await simulator.send_line(
                b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"MSFT","bidPrice":7}}}'
            )
            await simulator.requested(Subscribe)
            assert [line["answered"] for line in scene.logged("session started")] == [False]
            await scene.takes(1)
        quotes = by_symbol(await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES))[Topic.QUOTES, "MSFT"]
        assert [(quote["seq"], quote["after_gap"]) for quote in quotes] == [(0, True)]
        assert not scene.causes
    await scene.proof()


async def test_an_expiring_session_is_renewed_on_the_open_socket(stage: Stage) -> None:
    """When the server warns, the bridge authenticates again, without a reconnect and without a gap."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Expire(warning_seconds=5))
            await simulator.authenticated(2)
            await scene.flows()
        assert len(scene.logged("session started")) == 1
        assert len(scene.logged("reauthenticated on the open connection")) == 1
    await scene.proof()


async def test_a_short_session_is_renewed_before_it_expires(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warning, the bridge authenticates again before the session expires."""
    monkeypatch.setattr(authentication, "REAUTHENTICATE_AT", 0.2)  # far from the end, so that a busy machine is in time
    async with Simulator(dialect="envelope", expires_in_seconds=2, warning_seconds=0) as simulator:
        async with stage.bridge(simulator) as scene:
            await simulator.authenticated(3)
            await scene.flows()
    await scene.proof()


async def test_a_forgotten_session_is_an_announced_gap(stage: Stage) -> None:
    """What was not sent without a session is lost: a new session on the same socket starts after an announced gap."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.ForgetAuth())
            await scene.flows(sessions=2)
        assert not scene.causes
        assert len(simulator.all_sessions) == 1
        quotes = by_symbol(await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES))[Topic.QUOTES, "AAPL"]
        firsts = [quote for quote in quotes if quote["seq"] == 0]
        assert [quote["after_gap"] for quote in firsts] == [True, True]
    announced = await scene.proof(DisconnectCause.CLOSED)
    assert "the session expired" in next(record["reason"] for record in announced if record["kind"] == "GAP")
