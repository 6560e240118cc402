"""``/status`` is the exact state of the bridge, without its secrets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import bridge as package
from bridge import settings
from bridge.app import Service
from bridge.aries.access_token import FixedToken
from bridge.errors import DisconnectCause
from bridge.observability.rate_history import RateHistory
from bridge.observability.status import status
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import REDACTED, Secret
from bridge.simulator import faults
from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from bridge.topics import Topic
from tests.observability.http_client import PATHS, client
from tests.support.service import environment, eventually, running, serving

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
    """Return whether that many lines are read and all are accounted for."""
    return bridge.accounts.lines_received >= lines and bridge.buffer.empty and not bridge.accounts.pending


async def test_it_has_the_values_of_the_accounts(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Totals, their parts, topics and buffer are those of the objects, and they add up."""
    async with Simulator(dialect="envelope", lines_per_frame=3) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, KAFKA_TOPIC_L2=f"{topic_prefix}.dlq2")
        broker.create_topics([environ["KAFKA_TOPIC_L2"]])
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(500)
            await simulator.quote("AAPL", bidPrice="1", novelty=7)
            await simulator.inject(faults.Garbage())
            await eventually(lambda: bridge.accounts.dead_lettered, "the dead letter")
            await eventually(lambda: idle(bridge, simulator.sent.lines), "all acknowledged")
            status: dict[str, Any] = (await http.get("/status")).document
            accounts = bridge.accounts
            totals = accounts.totals()
    assert status["encoder"] == bridge.settings.encoder
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


async def test_it_lists_the_symbols_without_data(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A stale symbol has its topic, its age and the time of its last data; topics have their counts; no limit: null."""
    async with Simulator(dialect="envelope", rate=200) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_STALE_SYMBOL_SECONDS="quotes=1")
        async with serving(environ) as service, client(service) as http:
            ages = service.bridge.symbol_ages
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: service.bridge.ingest.streams(Topic.QUOTES).get("MSFT"), "data")
            await simulator.inject(faults.FreezeSymbol(symbol="MSFT"))
            await eventually(lambda: ages.oldest_stale, "a stale symbol")
            document: dict[str, Any] = (await http.get("/status")).document
            metrics = (await http.get("/metrics")).text
    stale = document["stale_symbols"]
    assert stale["count"] == 1
    [listed] = stale["oldest"]
    assert (listed["topic"], listed["symbol"]) == (Topic.QUOTES, "MSFT")
    assert listed["age_seconds"] > 1
    assert at(document["started_at"]) < at(listed["last_data_at"]) < at(document["now"])
    topics = {topic["topic"]: topic for topic in document["topics"]}
    assert topics[Topic.QUOTES]["stale_symbols"] == 1
    assert topics[Topic.QUOTES]["oldest_symbol_age_seconds"] > 1
    assert (topics[Topic.TRADES]["stale_symbols"], topics[Topic.TRADES]["oldest_symbol_age_seconds"]) == (None, None)
    assert f'aries_bridge_stale_symbols{{topic="{topic_prefix}.quotes"}} 1.0' in metrics


async def test_it_identifies_the_bridge_and_its_connections(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Version, instance, shard, session, Aries and Kafka are there; the query of the endpoint is not."""
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
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await http.becomes(200)
            answer = await http.get("/status")
            symbols = len(bridge.plans.own)
    status: dict[str, Any] = answer.document
    assert SECRET not in answer.text
    assert status["aries"]["url"] == simulator.url
    assert (status["version"], status["instance"]) == (package.__version__, "test-bridge")
    assert (status["shard"], status["shards"], status["group"]) == (0, 4, None)
    assert status["symbols"] == {"own": symbols, "of_all_shards": 3}
    assert (status["phase"], status["state"], status["alive"], status["ready"]) == ("running", "streaming", True, True)
    assert at(status["started_at"]) < at(status["aries"]["session"]["since"]) <= at(status["now"])
    assert status["aries"]["session"]["id"] == bridge.control.session_id
    assert status["aries"]["session"]["symbols"] == status["aries"]["symbols_wanted"] == symbols
    assert len(status["aries"]["plan"]["fingerprint"]) == 12
    assert status["aries"]["plan"]["applied_at"] == status["started_at"]
    assert (status["aries"]["dialect"], status["aries"]["market"]) == ("envelope", "open")
    assert (status["aries"]["last_loss"], status["aries"]["next_attempt_at"]) == (None, None)
    assert status["token"] == {"source": "fixed", "expires_at": None}
    assert at(status["started_at"]) <= at(status["kafka"].pop("connected_since")) <= at(status["now"])
    assert at(status["started_at"]) <= at(status["kafka"].pop("acking_since")) <= at(status["now"])
    assert status["kafka"] == {
        "servers": broker.bootstrap_servers.split(","),
        "connected": True,
        "acking": True,
        "missing_topics": [],
        "rebuilds": 0,
        "last_error": None,
    }
    assert (status["gaps"], status["losses"], status["gap_seconds"]) == ([], [], 0)


async def test_it_counts_the_tasks_of_the_event_loop(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A leak of tasks is visible."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with running(environ) as bridge:

            def tasks() -> int:
                found: int = status(bridge, RateHistory(bridge.accounts), 0.0, 0)["tasks"]
                return found

            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            before = tasks()
            waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
            assert tasks() == len(asyncio.all_tasks()) == before + 3
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert all(task.cancelled() for task in waiting)


async def test_gaps_and_disconnects_have_their_times(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """While Aries is away the gap is open, and the time of the next attempt is there."""
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_BACKOFF_MIN_SECONDS="600",
            ARIES_BACKOFF_MAX_SECONDS="600",
        )
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
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


async def test_a_closed_gap_has_its_start_and_end(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The newest gap comes first, with its length."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            bridge = service.bridge
            async with client(service) as http:
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


async def test_the_expiry_of_the_token_is_shown_and_never_the_token(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """With a refresh grant the status has the expiry; no response has the token, its refresh token or secrets."""
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
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
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


async def test_secrets_repeated_by_servers_are_redacted(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """A token in an error message or in a field name from Aries is not shown."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN_FILE=str(token))
        del environ["ARIES_ACCESS_TOKEN"]
        await simulator.inject(faults.RefuseAuth(error=f"no such token: {SECRET}", times=2))
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            checks = await http.comes(
                "/readyz", lambda answer: "refused" in answer.text or answer.status == 200, "the rejection"
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


def test_redaction_keeps_the_types_of_a_document() -> None:
    """A short numeric secret does not change numbers."""
    redactor = Redactor()
    redactor.learn("1234")
    document = {"count": 12345, "text": "is 1234", "list": [True, None, {"1234": 0.5}]}
    assert redactor.redact_document(document) == {"count": 12345, "text": "is ***", "list": [True, None, {"***": 0.5}]}
    assert json.loads(json.dumps(redactor.redact_document(document)))["count"] == 12345


@pytest.mark.parametrize("expires_at", [1e300, float("inf"), float("-inf"), float("nan"), -1e300, 1e18, 2.6e11])
async def test_times_beyond_the_calendar_are_null(expires_at: float) -> None:
    """Whatever lifetime a server grants, and whatever the clock says, only that value is affected."""
    environ = {"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    service = Service(settings.load({**environ, "BRIDGE_HTTP_HOST": "127.0.0.1", "BRIDGE_HTTP_PORT": "0"}))
    bridge = service.bridge
    token = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", "t"))
    token.expires_at = expires_at
    bridge.tokens = token
    bridge.started_us = 2**80
    bridge.client.next_attempt_us = -(2**80)
    bridge.client.connection_history.lost(DisconnectCause.NETWORK, "gone", 10**40)
    bridge.client.connection_history.begin_gap(-(10**40), DisconnectCause.NETWORK)
    bridge.ingest.last_data_us[Topic.QUOTES] = -(2**80)
    async with service.http.running(), client(service) as http:
        found, metrics = await http.get("/status"), await http.get("/metrics")
    assert (found.status, metrics.status) == (200, 200)
    assert found.document["token"]["expires_at"] is None
    assert found.document["started_at"] is None
    assert found.document["aries"]["next_attempt_at"] is None
    assert found.document["gaps"][0]["from"] is None
    assert found.document["instance"] == bridge.settings.bridge_instance
    assert json.loads(found.text) == found.document
