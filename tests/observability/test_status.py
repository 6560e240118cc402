"""``/status`` is the bridge's state, exactly and without its secrets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import bridge as package
from bridge.observability.rate_history import History
from bridge.observability.status import status
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import REDACTED
from bridge.simulator import faults
from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from bridge.topics import Topic
from tests.observability.http_client import PATHS, client
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")
SECRET = "hunter22-very-secret"


def at(iso: str) -> datetime:
    assert iso.endswith("Z")
    return datetime.fromisoformat(iso)


def idle(bridge: Bridge, lines: int) -> bool:
    """Return whether so many lines are read, all accounted for, and nothing is on its way."""
    return bridge.accounts.lines_received >= lines and bridge.buffer.empty and not bridge.accounts.pending


async def test_it_says_what_the_accounts_say(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Totals, their parts, the topics and the buffer are those of the objects, and they add up."""
    async with Simulator(dialect="envelope", lines_per_frame=3) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, KAFKA_TOPIC_L2=f"{topic_prefix}.dlq2")
        broker.create_topics([environ["KAFKA_TOPIC_L2"]])
        async with running(environ) as bridge, client(bridge) as http:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(500)
            await simulator.quote("AAPL", bidPrice="1", novelty=7)
            await simulator.inject(faults.Garbage())
            await eventually(lambda: bridge.accounts.dead_lettered, "the dead letter")
            await eventually(lambda: idle(bridge, simulator.sent.lines), "all acknowledged")
            status: dict[str, Any] = (await http.get("/status")).document
            accounts = bridge.accounts
            totals = accounts.totals()
    found = status["accounts"]
    assert {name: found[name] for name in totals} == totals | {"pending": 0}
    assert found["adds_up"] is True
    assert found["announced"] == accounts.announced - 1  # SESSION_COMPLETED came after
    assert found["filtered_by_kind"] == dict(accounts.filtered)
    assert found["dead_lettered_by_reason"] == {"not_json": 1}
    assert found["unknown_fields"] == {"novelty": 1}
    topics = {topic["topic"]: topic for topic in status["topics"]}
    assert set(topics) == set(Topic)
    for topic in (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.MARKET_STATUS):
        assert topics[topic]["acknowledged"] == accounts.published[topic] > 0
        assert 0 < topics[topic]["receive_to_ack_seconds"]["p50"] <= topics[topic]["receive_to_ack_seconds"]["p99"]
        assert topics[topic]["last_data_age_seconds"] >= 0
    assert topics[Topic.L2]["name"] == environ["KAFKA_TOPIC_L2"]
    assert (topics[Topic.GREEKS]["wanted"], topics[Topic.QUOTES]["wanted"]) == (False, True)
    assert topics[Topic.DLQ]["acknowledged"] == 1
    assert status["buffer"] == {
        "bytes": 0,
        "budget_bytes": 268435456,
        "pending": 0,
        "held": 0,
        "overloaded": False,
    }


async def test_it_says_who_and_where_this_is(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Version, instance, shard, the session and both ends are there; the endpoint's query is not."""
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            BRIDGE_SHARDS="4",
            BRIDGE_SHARD="0",
            ARIES_SYMBOLS="F,T,A",
        )
        environ["ARIES_WS_URL"] += f"?key={SECRET}"
        async with running(environ) as bridge, client(bridge) as http:
            await http.becomes(200)
            answer = await http.get("/status")
            symbols = len(bridge.plan)
    status: dict[str, Any] = answer.document
    assert SECRET not in answer.text
    assert status["aries"]["url"] == simulator.url
    assert (status["version"], status["instance"]) == (package.__version__, "test-bridge")
    assert (status["shard"], status["shards"]) == (0, 4)
    assert (status["phase"], status["state"], status["alive"], status["ready"]) == ("running", "streaming", True, True)
    assert at(status["started_at"]) < at(status["aries"]["session"]["since"]) <= at(status["now"])
    assert status["aries"]["session"]["id"] == bridge.control.session_id
    assert status["aries"]["session"]["symbols"] == status["aries"]["symbols_wanted"] == symbols
    assert (status["aries"]["dialect"], status["aries"]["market"]) == ("envelope", "open")
    assert (status["aries"]["last_loss"], status["aries"]["next_attempt_at"]) == (None, None)
    assert status["token"] == {"source": "fixed", "expires_at": None}
    assert status["kafka"] == {
        "servers": broker.bootstrap_servers.split(","),
        "connected": True,
        "acking": True,
        "rebuilds": 0,
        "last_error": None,
    }
    assert (status["gaps"], status["losses"], status["gap_seconds"]) == ([], [], 0)


async def test_it_counts_the_tasks_of_the_event_loop(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Three tasks more are three more: a leak of them shows."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with running(environ) as bridge:

            def tasks() -> int:
                found: int = status(bridge, History(bridge.accounts), 0.0, 0)["tasks"]
                return found

            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            before = tasks()
            waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
            assert tasks() == len(asyncio.all_tasks()) == before + 3
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)


async def test_gaps_and_losses_are_told_with_their_times(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """While the feed is away the gap lasts and the next attempt is announced; afterwards both ends of it are known."""
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_BACKOFF_MIN_SECONDS="600",
            ARIES_BACKOFF_MAX_SECONDS="600",
        )
        async with running(environ) as bridge, client(bridge) as http:
            await http.becomes(200)
            await simulator.inject(faults.Drop())
            await eventually(lambda: bridge.client.next_attempt_us, "the wait")
            status: dict[str, Any] = (await http.get("/status")).document
    assert status["aries"]["session"] is None
    assert status["aries"]["market"] == "unknown"
    assert at(status["aries"]["next_attempt_at"]) > at(status["now"])
    (loss,) = status["losses"]
    assert (loss["cause"], loss["times"], loss["first_at"]) == ("network", 1, loss["last_at"])
    assert status["aries"]["last_loss"] == loss
    assert status["aries"]["reconnects"] == {"network": 1}
    (gap,) = status["gaps"]
    assert (gap["to"], gap["cause"]) == (None, "network")
    assert at(gap["from"]) <= at(loss["first_at"])
    assert gap["seconds"] == status["gap_seconds"] >= 0


async def test_a_gap_that_has_ended_has_both_ends(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The newest gap stands first, with its length."""
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            async with client(bridge) as http:
                for number in range(2):
                    await http.becomes(200)
                    await simulator.inject(faults.Drop())
                    await eventually(lambda n=number: len(bridge.client.connection_history.gaps) == n + 1, "the gap")  # type: ignore[misc]  # bound at once
                    await eventually(lambda: bridge.client.connection_history.open_gap is None, "its end")
                status: dict[str, Any] = (await http.get("/status")).document
    newest, oldest = status["gaps"]
    assert at(oldest["from"]) <= at(oldest["to"]) <= at(newest["from"]) <= at(newest["to"])
    assert status["gap_seconds"] == pytest.approx(newest["seconds"] + oldest["seconds"], abs=0.002)
    assert [loss["times"] for loss in status["losses"]] == [1, 1]


async def test_the_tokens_end_is_told_and_never_the_token(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """With a refresh grant the status has the token's end; no answer has the token, its refresh token or secrets."""
    good = AcceptedTokens()
    async with TokenEndpointServer(good, expires_in_seconds=600) as endpoint, Simulator(tokens=good) as simulator:
        refresh = tmp_path / "refresh"
        refresh.write_text(endpoint.refresh_token)
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_CLIENT_ID="client",
            ARIES_CLIENT_SECRET="secret",
            ARIES_REFRESH_TOKEN_FILE=str(refresh),
            ARIES_TOKEN_URL=endpoint.url,
        )
        del environ["ARIES_ACCESS_TOKEN"]
        async with running(environ) as bridge, client(bridge) as http:
            await http.becomes(200)
            token = await bridge.tokens.token()
            answers = [await http.get(path) for path in PATHS]
    status: dict[str, Any] = answers[-1].document
    assert status["token"]["source"] == "refresh grant"
    assert 0 < (at(status["token"]["expires_at"]) - datetime.now(UTC)).total_seconds() <= 600
    assert "token_expiry_timestamp_seconds 1" in answers[3].text
    for answer in answers:
        assert token not in answer.text
        assert endpoint.refresh_token not in answer.text


async def test_what_others_echo_is_redacted(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> None:
    """A server that puts our token into its refusal, and a field of that name, do not make us show it."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN_FILE=str(token))
        del environ["ARIES_ACCESS_TOKEN"]
        await simulator.inject(faults.RefuseAuth(error=f"no such token: {SECRET}", times=2))
        async with running(environ) as bridge, client(bridge) as http:
            checks = await http.comes(
                "/readyz", lambda answer: "refused" in answer.text or answer.status == 200, "told"
            )
            await http.becomes(200)
            await simulator.quote("AAPL", **{SECRET: 1, "bidPrice": "2"})
            await eventually(lambda: bridge.ingest.unknown_fields, "the strange field")
            answers = [checks, *[await http.get(path) for path in PATHS]]
    assert not [answer.text for answer in answers if SECRET in answer.text]
    status: dict[str, Any] = answers[-1].document
    assert status["token"]["source"] == "file"
    assert status["losses"][0]["reason"] == f"Aries rejected the access token: no such token: {REDACTED}"
    assert status["accounts"]["unknown_fields"] == {REDACTED: 1}


def test_a_document_stays_what_it_was_when_it_is_cleaned() -> None:
    """A short secret that is a number does not break the numbers around it."""
    redactor = Redactor()
    redactor.learn("1234")
    document = {"count": 12345, "text": "is 1234", "list": [True, None, {"1234": 0.5}]}
    assert redactor.cleaned(document) == {"count": 12345, "text": "is ***", "list": [True, None, {"***": 0.5}]}
    assert json.loads(json.dumps(redactor.cleaned(document)))["count"] == 12345
