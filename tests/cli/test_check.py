"""``aries-bridge check`` as a command: lines or JSON, exit codes, and no secrets."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from bridge.check.report import CheckResult, Status
from bridge.cli.check import exit_code, redact
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import Secret
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry
from tests.support.http_proxy import DEAD_PROXIES
from tests.support.process import process
from tests.support.service import environment
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker

LINE = re.compile(r"(ok  |warn|fail)  [A-Z][^:]*: \S.*")


async def test_everything_passes(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Every line has the same format, and the exit code is 0 in spite of warnings."""
    broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic])
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "check") as check:
            assert await check.ended() == 0
    assert all(LINE.fullmatch(line) for line in check.output.splitlines())
    assert "ok    Aries subscription: data of AAPL came in" in check.output
    assert check.text == []


async def test_json(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The list has an object for each check; if one failed, the exit code is 1."""
    async with Simulator() as simulator:
        async with process(
            environment(simulator, broker.bootstrap_servers, topic_prefix), "check", "--json", "--no-session"
        ) as check:
            assert await check.ended() == 1
        assert not simulator.received_counts
    results = json.loads(check.output)
    assert {tuple(result) for result in results} == {("check", "status", "finding", "hint")}
    failed = [result for result in results if result["status"] == "fail"]
    assert {
        "check": "Aries authentication",
        "status": "ok",
        "finding": "not tried (--no-session)",
        "hint": "",
    } in results
    assert all("`aries-bridge topics`" in result["hint"] for result in failed)
    assert len(failed) == len(Topic) - 1


async def test_invalid_settings_exit_with_2() -> None:
    """Without settings, only these are reported."""
    async with process({}, "check") as check:
        assert await check.ended() == 2
    assert "fail  Settings: " in check.output
    assert "KAFKA_BOOTSTRAP_SERVERS" in check.output


async def test_secrets_are_redacted_in_server_messages(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """Secrets of the settings and granted tokens are not printed, even if a server repeats them."""
    secrets = {"refresh-me-please", "client-secret-word", "access-1"}
    (tmp_path / "refresh").write_text("refresh-me-please\n")
    async with Simulator() as simulator, token_endpoint() as endpoint:
        simulator.active_faults.add(faults.RefuseAuth(error="access-1 and refresh-me-please are not good"))
        environ = {
            **environment(simulator, broker.bootstrap_servers, topic_prefix),
            "ARIES_ACCESS_TOKEN": "",
            "ARIES_REFRESH_TOKEN_FILE": str(tmp_path / "refresh"),
            "ARIES_CLIENT_ID": "me",
            "ARIES_CLIENT_SECRET": "client-secret-word",
            "ARIES_TOKEN_URL": endpoint.url,
        }
        async with process(environ, "check") as check:
            assert await check.ended() == 1
    assert "*** and *** are not good" in check.output
    assert not [secret for secret in secrets if secret in check.output + "".join(check.text)]


def test_a_result_is_one_line() -> None:
    """Line breaks become spaces after secrets are redacted, since these may contain line breaks."""
    redactor = Redactor([Secret.fixed("KAFKA_SASL_PASSWORD", "two\nlines")])
    result = redact(CheckResult("Kafka", Status.FAIL, "it said\ntwo\nlines", "Fix\tit."), redactor)

    assert str(result) == "fail  Kafka: it said ***. Fix it."


def test_exit_codes() -> None:
    """Warnings do not count; invalid settings take precedence."""
    warning, failure = CheckResult("Clock", Status.WARN, ""), CheckResult("Clock", Status.FAIL, "")

    assert exit_code([]) == exit_code([warning]) == 0
    assert exit_code([warning, failure]) == 1
    assert exit_code([failure, CheckResult("Settings", Status.FAIL, "")]) == 2


@pytest.mark.parametrize("host", ["localhost", "::1", "127.0.0.1"])
async def test_this_machine_is_not_proxied(host: str, broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Feed, token endpoint, registry and Kafka on loopback pass, whatever proxies the environment names."""
    broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic])
    registry = FakeRegistry()
    async with Simulator(host=host) as simulator, token_endpoint() as endpoint, registry.serving():
        more = {"ARIES_CLIENT_ID": "me", "ARIES_REFRESH_TOKEN": "r", "ARIES_TOKEN_URL": endpoint.url}
        more |= {"SCHEMA_REGISTRY_URL": registry.url, "SCHEMA_REGISTRY_AUTO_REGISTER": "true", **DEAD_PROXIES}
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, **more)
        del environ["ARIES_ACCESS_TOKEN"]
        async with process(environ, "check") as check:
            assert await check.ended() == 0, check.output


async def test_a_proxy_that_cannot_be_used_is_an_invalid_setting(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """`check` and `run` exit with 2, in sentences without the proxy's password."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_WS_URL="wss://aries.example/")
        for command in ("check", "run"):
            async with process({**environ, "HTTPS_PROXY": "socks5h://me:secret@proxy:1080"}, command) as run:
                assert await run.ended() == 2
            shown = run.output + "".join(run.text)
            assert "HTTPS_PROXY" in shown
            assert "SOCKS is not supported" in shown
            assert "secret" not in shown
            assert "Traceback" not in shown
