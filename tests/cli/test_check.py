"""``aries-bridge check`` as its users run it: lines or JSON, exit codes, and never a secret."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bridge.check.report import Finding, Status
from bridge.cli.check import clean, exit_code
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import Secret
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.process import process
from tests.support.service import environment
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker

LINE = re.compile(r"(ok  |warn|fail)  [A-Z][^:]*: \S.*")


async def test_all_well(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Every line has the one form, and the exit code is 0 though there are warnings."""
    broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic])
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "check") as check:
            assert await check.ended() == 0
    assert all(LINE.fullmatch(line) for line in check.output.splitlines())
    assert "ok    Aries subscription: data of AAPL came in" in check.output
    assert check.text == []


async def test_json(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The list has an object for each line, also where something failed: then the exit code is 1."""
    async with Simulator() as simulator:
        async with process(
            environment(simulator, broker.bootstrap_servers, topic_prefix), "check", "--json", "--no-session"
        ) as check:
            assert await check.ended() == 1
        assert not simulator.received_counts
    findings = json.loads(check.output)
    assert {tuple(finding) for finding in findings} == {("check", "status", "finding", "remedy")}
    failed = [finding for finding in findings if finding["status"] == "fail"]
    assert {
        "check": "Aries authentication",
        "status": "ok",
        "finding": "not tried (--no-session)",
        "remedy": "",
    } in findings
    assert all("`aries-bridge topics`" in finding["remedy"] for finding in failed)
    assert len(failed) == len(Topic) - 1


async def test_wrong_settings_end_with_2() -> None:
    """Without settings there is nothing but to say so."""
    async with process({}, "check") as check:
        assert await check.ended() == 2
    assert "fail  Settings: " in check.output
    assert "KAFKA_BOOTSTRAP_SERVERS" in check.output


async def test_no_secret_is_shown_whoever_repeats_it(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> None:
    """Secrets of the settings and tokens granted meanwhile are not in the output, even if a server says them."""
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


def test_a_finding_is_one_line_whatever_a_server_says() -> None:
    """Line ends become spaces, after secrets that have some are gone."""
    redactor = Redactor([Secret.fixed("KAFKA_SASL_PASSWORD", "two\nlines")])
    finding = clean(Finding("Kafka", Status.FAIL, "it said\ntwo\nlines", "Mend\tit."), redactor)

    assert str(finding) == "fail  Kafka: it said ***. Mend it."


def test_exit_codes() -> None:
    """Warnings do not count; wrong settings count for more than the rest."""
    warning, failure = Finding("Clock", Status.WARN, ""), Finding("Clock", Status.FAIL, "")

    assert exit_code([]) == exit_code([warning]) == 0
    assert exit_code([warning, failure]) == 1
    assert exit_code([failure, Finding("Settings", Status.FAIL, "")]) == 2
