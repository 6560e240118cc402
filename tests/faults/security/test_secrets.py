"""Whatever servers do with the bridge's secrets, no output of the bridge shows one.

Others echo them where they should not: in errors, close reasons, bodies of refusals, garbage. Each test collects
everything that real processes emit, standard output and error at DEBUG, HTTP, their arguments and raw Kafka records,
and looks for planted secrets.
"""

from __future__ import annotations

import asyncio
import base64
import html
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from bridge.capture.reader import open_capture
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.capture.captured import files
from tests.faults.security import planted
from tests.support import consumer
from tests.support.brokers import PASSWORD, USER, Listener
from tests.support.fake_registry import FakeRegistry
from tests.support.process import process
from tests.support.service import environment
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

TERM = signal.SIGTERM
PATHS = ("/", "/livez", "/readyz", "/metrics", "/status", "/nowhere")
LOUD = {"BRIDGE_LOG_LEVEL": "DEBUG", "PYTHONASYNCIODEBUG": "1"}


def basic(user: str, password: str) -> str:
    """Return credentials as HTTP carries them."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


#: Renew tokens and sessions as often as asked for, instead of at least 30 s apart.
RENEW_AT_ONCE = """
from bridge.aries.protocol import authentication
from bridge.oauth import current_grant
current_grant.FRESH_SECONDS = current_grant.MIN_REPEAT_SECONDS = 0.0
authentication.MIN_RENEWAL_SECONDS = authentication.REPEATED_WITHIN_SECONDS = 0.0
"""


async def output_of(bridge: Process) -> bytes:
    """Return what a process has written, its arguments, and what it responds over HTTP while it runs."""
    outputs = [*bridge.text, bridge.output]
    cmdline = Path(f"/proc/{bridge.pid}/cmdline")
    outputs += [cmdline.read_text()] if cmdline.exists() else []  # noqa: ASYNC240 - no disk is behind it
    for line in bridge.all("HTTP server listening") if cmdline.exists() else []:  # noqa: ASYNC240 - likewise
        async with aiohttp.ClientSession(f"http://127.0.0.1:{line['port']}") as http:
            for path in PATHS:
                async with http.get(path) as answer:
                    outputs.append(f"{answer.headers}{await answer.text()}")
    return "".join(outputs).encode()


def content_of(path: Path) -> bytes:
    """Return all that is in a capture."""
    with open_capture(path) as capture:
        return json.dumps(capture.header).encode() + b"".join(entry.data for entry in capture.entries())


async def run(environ: Mapping[str, str], *command: str) -> bytes:
    """Run a command to its end and return its output."""
    async with process({**environ, **LOUD}, *command) as running:
        await running.ended()
        return await output_of(running)


async def run_all(environ: Mapping[str, str], *commands: tuple[str, ...]) -> list[bytes]:
    """Run commands side by side and return the output of each."""
    return list(await asyncio.gather(*(run(environ, *command) for command in commands)))


async def records(bootstrap_servers: str, prefix: str) -> bytes:
    """Return every key and value on the topics of a prefix."""
    names = [f"{prefix}.{topic}" for topic in Topic]
    messages = await asyncio.to_thread(consumer.read_all, bootstrap_servers, names)
    return b"".join((message.key or b"") + (message.value or b"") for message in messages)


async def test_a_feed_that_echoes_token_and_key_everywhere(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, tmp_path: Path
) -> None:
    """In errors, invalid lines, names and close reasons, cut or whole: no output repeats it."""
    async with Simulator(rate=100, dialect="action", api_key=planted.API_KEY) as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_WS_URL=f"{simulator.url}?{planted.URL_QUERY}",
            ARIES_ACCESS_TOKEN=planted.ACCESS_TOKEN,
            ARIES_API_KEY=planted.API_KEY,
            BRIDGE_CAPTURE_DIR=str(tmp_path),
            **LOUD,
        )
        token, key = planted.ACCESS_TOKEN, planted.API_KEY
        await simulator.inject(faults.RefuseSymbol(symbol="MSFT", error=f"no rights with {token}"))
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            for echo in (token, key, quote(token), json.dumps(key), html.escape(key), basic("u", key), token[:100]):
                for fault in _echoes(echo):
                    await simulator.inject(fault)
            outputs = [await output_of(bridge)]
            for number, echo in enumerate((f"bad token {token}"[:120], f"bad key {key}"), 1):
                await simulator.inject(faults.Close(code=4000, reason=echo))
                await bridge.logged("Aries connection lost", number)
                await bridge.logged("subscribed", number + 1)
            await simulator.inject(faults.Http(status=503, body=token, retry_after=key, times=1))
            await simulator.inject(faults.Drop())
            await bridge.logged("Aries connection lost", 4)
            await bridge.logged("subscribed", 4)
            outputs.append(await output_of(bridge))
            bridge.signal(TERM)
            assert await bridge.ended() == 0
            outputs.append(await output_of(bridge))
    stored = await records(broker.bootstrap_servers, topic_prefix)
    assert stored.count(b"***") > 10  # the echoes are there, without what they echo
    captured = b"".join(content_of(path) for path in files(tmp_path))
    assert captured.count(b"***") > 20
    outputs.append(captured)
    commands = (("tail", "--json", "--from-beginning", "--count", "50"), ("verify",), ("settings", "--json"))
    outputs += await run_all(environ, *commands)
    assert planted.shown_in(b"".join((*outputs, stored))) == []


def _echoes(echo: str) -> Iterator[faults.Fault]:
    yield faults.UnknownKind(kind=echo, fields={"something": echo})
    yield faults.UnknownField(name=echo, value=echo)
    yield faults.Garbage(line=f"<html>{echo}</html>")
    for message in (
        {"action": "error", "message": f"what is {echo}?"},
        {"action": echo, "message": echo},
        {"type": "equityComposite", "data": {"symbol": "AAPL", "bidPrice": echo}},
        {"type": "equityComposite", "data": {"symbol": echo, "bidPrice": echo}},
    ):
        yield faults.Garbage(line=json.dumps(message))


async def test_a_feed_that_repeats_the_token_it_rejects(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """The message of exit code 3 has a hint and not the token; so has the preflight."""
    async with Simulator() as simulator:
        await simulator.inject(faults.RefuseAuth(error=f"no such token: {planted.ACCESS_TOKEN}"))
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_ACCESS_TOKEN=planted.ACCESS_TOKEN
        )
        outputs = await run_all(environ, ("run",), ("check",), ("check", "--json"))
    assert b"no such token: ***" in outputs[0]
    assert planted.shown_in(b"".join((*outputs, await records(broker.bootstrap_servers, topic_prefix)))) == []


async def test_a_token_endpoint_that_echoes_what_it_was_sent(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Rejections in JSON and in HTML, and tokens that were granted, and so learnt, only while the bridge ran."""
    async with Simulator(rate=100) as simulator, token_endpoint() as endpoint:
        sent = f"{planted.REFRESH_TOKEN} and {planted.CLIENT_SECRET}"
        endpoint.will_answer(500, {"error": sent, "error_description": planted.CLIENT_SECRET})
        endpoint.will_answer(503, f"<html>{html.escape(sent)}</html>")
        endpoint.will_answer(200, f"<html>{html.escape(sent)}</html>")
        granted = {
            "access_token": planted.NEXT_ACCESS_TOKEN,
            "refresh_token": planted.ROTATED_REFRESH_TOKEN,
            "expires_in": 3600,
        }
        endpoint.will_answer(200, granted)
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_ACCESS_TOKEN="",
            ARIES_CLIENT_ID="client",
            ARIES_CLIENT_SECRET=planted.CLIENT_SECRET,
            ARIES_REFRESH_TOKEN=planted.REFRESH_TOKEN,
            ARIES_TOKEN_URL=f"{endpoint.url}?{planted.URL_QUERY}",
            **LOUD,
        )
        async with process(environ, "run", sabotage=RENEW_AT_ONCE) as bridge:
            await bridge.logged("subscribed")
            outputs = [await output_of(bridge)]
            echo = f"{planted.NEXT_ACCESS_TOKEN} {planted.ROTATED_REFRESH_TOKEN}"
            refused = {"error": "server_error", "error_description": echo}
            for _ in range(5):
                endpoint.will_answer(500, refused)
            await simulator.inject(faults.Garbage(line=echo))
            await simulator.inject(faults.Expire(warning_seconds=1))
            await bridge.logged("token refresh failed, using current token")
            outputs.append(await output_of(bridge))
            bridge.signal(TERM)
            assert await bridge.ended() == 0
            outputs.append(await output_of(bridge))
    assert planted.shown_in(b"".join((*outputs, await records(broker.bootstrap_servers, topic_prefix)))) == []


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error_code": 401, "message": basic("the-user", planted.REGISTRY_PASSWORD)}),
        (422, {"error_code": 422, "message": f"{planted.REGISTRY_PASSWORD}, {basic('us', planted.REGISTRY_PASSWORD)}"}),
        (500, {"message": planted.REGISTRY_PASSWORD}),
    ],
    ids=lambda answer: str(answer[0]),
)
async def test_a_registry_that_echoes_the_password(
    answer: tuple[int, dict[str, object]], broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Rejected, unprocessable or broken: the password is repeated neither as it is nor as HTTP encodes it."""
    async with Simulator() as simulator, FakeRegistry().serving() as registry:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            SCHEMA_REGISTRY_URL=registry.url,
            SCHEMA_REGISTRY_USERNAME="the-user",
            SCHEMA_REGISTRY_PASSWORD=planted.REGISTRY_PASSWORD,
            **LOUD,
        )
        status, body = answer
        registry.answers += [web.json_response(body, status=status) for _ in range(50)]
        async with process(environ, "run") as bridge:
            if status >= 500:
                await bridge.logged("schema registry unavailable, retrying")
                outputs = [await output_of(bridge)]
                bridge.signal(TERM)
            code = await bridge.ended()
            assert code == (0 if status >= 500 else 1)
            outputs = [await output_of(bridge)]
        outputs.append(await run(environ, "schemas", "list"))
    assert planted.shown_in(b"".join(outputs)) == []


async def test_a_kafka_that_rejects_the_password_or_accepts_it(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Neither a failed login nor a successful one shows its credentials, by any mechanism."""
    async with Simulator(rate=100) as simulator, token_endpoint() as endpoint:
        environ = {
            **environment(simulator, kafka.addresses(Listener.SASL), topic_prefix),
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        }
        login = {"KAFKA_SASL_USERNAME": USER, "KAFKA_SASL_PASSWORD": planted.SASL_PASSWORD}
        oauth = {
            "KAFKA_OAUTH_TOKEN_URL": endpoint.url,
            "KAFKA_OAUTH_CLIENT_ID": "client",
            "KAFKA_OAUTH_CLIENT_SECRET": planted.OAUTH_SECRET,
        }
        workload = {"KAFKA_OAUTH_TOKEN_URL": endpoint.url, "KAFKA_OAUTH_CLIENT_ASSERTION": planted.CLIENT_ASSERTION}
        token = {"KAFKA_OAUTH_TOKEN": planted.KAFKA_TOKEN}
        outputs = []
        for mechanism, how, echo in (
            ("PLAIN", login, ""),
            ("SCRAM-SHA-512", login, ""),
            ("OAUTHBEARER", oauth, basic("client", planted.OAUTH_SECRET)),
            ("OAUTHBEARER", workload, planted.CLIENT_ASSERTION),
            ("OAUTHBEARER", token, ""),
        ):
            endpoint.answers.clear()
            for _ in range(20):
                endpoint.will_answer(401, {"error": "invalid_client", "error_description": f"not {echo}"})
            tried = {**environ, **how, **LOUD, "KAFKA_SASL_MECHANISM": mechanism}
            async with process(tried, "run") as bridge:
                await bridge.logged("Kafka unavailable, retrying")
                outputs.append(await output_of(bridge))
                bridge.signal(TERM)
                assert await bridge.ended() == 0
                outputs.append(await output_of(bridge))
        good = {**environ, **login, **LOUD, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_PASSWORD": PASSWORD}
        async with process(good, "run") as bridge:
            await bridge.logged("subscribed")
            outputs.append(await output_of(bridge))
            bridge.signal(TERM)
            assert await bridge.ended() == 0
            outputs.append(await output_of(bridge))
        outputs.append(await run({**good, **login}, "topics"))
    emitted = b"".join(outputs)
    assert PASSWORD.encode() not in emitted
    assert planted.shown_in(emitted) == []


async def test_secrets_in_the_wrong_settings_are_not_repeated(tmp_path: Path) -> None:
    """Invalid settings are reported by name, and URLs without what may be a credential."""
    file = tmp_path / "secret"
    file.write_bytes(planted.SASL_PASSWORD.encode("utf-16"))
    environ = {
        "ARIES_WS_URL": f"wss://user:{quote(planted.API_KEY, safe='')}@feed.example.com/?{planted.URL_QUERY}",
        "ARIES_TOKEN_URL": f"ftp://user:{quote(planted.CLIENT_SECRET, safe='')}@idp.example.com/",
        "ARIES_ACCESS_TOKEN": planted.ACCESS_TOKEN,
        "ARIES_ACCESS_TOKEN_FILE": str(file),
        "ARIES_ACESS_TOKEN": planted.ACCESS_TOKEN,
        "ARIES_REFRESH_TOKEN": planted.REFRESH_TOKEN,
        "ARIES_API_KEY": planted.API_KEY,
        "KAFKA_BOOTSTRAP_SERVERS": f"user:{planted.SASL_PASSWORD}@kafka:9092",
        "KAFKA_SASL_PASSWORD_FILE": str(file),
        "KAFKA_OAUTH_CLIENT_SECRET": planted.OAUTH_SECRET,
        "KAFKA_OAUTH_CLIENT_ASSERTION": f'"{planted.CLIENT_ASSERTION}"',
        "KAFKA_OAUTH_TOKEN": f"Bearer {planted.KAFKA_TOKEN}",
        "KAFKA_SSL_KEY_PASSWORD": f" {planted.KEY_PASSWORD}",
        "SCHEMA_REGISTRY_URL": f"https://user:{planted.REGISTRY_PASSWORD}@registry/?{planted.URL_QUERY}",
        "SCHEMA_REGISTRY_PASSWORD": planted.REGISTRY_PASSWORD,
    }
    commands = (("run",), ("settings",), ("settings", "--json"), ("settings", "--check"), ("check",), ("verify",))
    outputs = await run_all(environ, *commands)
    assert all(len(words) > 100 for words in outputs)
    assert planted.shown_in(b"".join(outputs)) == []


def test_the_search_itself_finds_every_form() -> None:
    """A secret that is shown, whole or cut, plain or encoded, is found by these tests."""
    for name, value in planted.SECRETS.items():
        for text in (value, quote(value), json.dumps(value), html.escape(value), basic("me", value), value[:65]):
            assert any(found.startswith(name) for found in planted.shown_in(text.encode())), (name, text)
    assert planted.shown_in(b"nothing of the kind: *** and eyJhbGciOiJSUzI1NiIsInR5cCI6") == []
