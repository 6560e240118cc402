"""Wrong settings of one side do not keep the others from being looked at."""

from __future__ import annotations

import pytest

from bridge.check import environment
from bridge.check.report import Status
from tests.check.findings import NO_ARIES, NO_KAFKA, Findings, found

BOTH = {**NO_ARIES, **NO_KAFKA}


def test_settings_that_are_right() -> None:
    """One line tells how many there are."""
    findings = Findings()
    environment.check(findings.report, BOTH)

    findings.must("Settings", Status.OK, "4 are set")


def test_each_problem_and_each_warning_is_a_line() -> None:
    """A problem fails, what is hardly meant warns, and both have a remedy."""
    findings = Findings()
    environment.check(findings.report, {**BOTH, "KAFKA_LINGER_MS": "soon", "KAFKA_TOPIC": "x", "ARIES_SYMBOLS": ""})

    told = {finding.finding.split()[0].split("=")[0]: finding.status for finding in findings.all}
    assert told == {"KAFKA_LINGER_MS": Status.FAIL, "no": Status.FAIL, "KAFKA_TOPIC": Status.WARN}
    assert all(finding.remedy for finding in findings.all)


@pytest.mark.parametrize(
    ("environ", "unsound"),
    [
        (BOTH, ""),
        ({**BOTH, "ARIES_SYMBOLS": ""}, "ARIES_"),
        ({**BOTH, "ARIES_ACCESS_TOKEN": ""}, "ARIES_"),
        ({**BOTH, "KAFKA_BOOTSTRAP_SERVERS": ""}, "KAFKA_"),
        ({**BOTH, "KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_"),
        ({**BOTH, "SCHEMA_REGISTRY_URL": "ftp://x"}, "SCHEMA_REGISTRY_"),
        ({**BOTH, "SCHEMA_REGISTRY_USERNAME": "x"}, "SCHEMA_REGISTRY_"),
        ({**BOTH, "BRIDGE_DRAIN_SECONDS": "long"}, ""),
    ],
)
def test_a_problem_belongs_to_one_side(environ: dict[str, str], unsound: str) -> None:
    """The other sides can be looked at all the same."""
    sides = (environment.ARIES, environment.KAFKA, environment.REGISTRY)

    assert [side for side in sides if not environment.is_sound(environ, side)] == ([unsound] if unsound else [])


async def test_sides_that_are_right_are_looked_at() -> None:
    """Without symbols there is no Aries to look at, but there is Kafka; the exit code is that of settings."""
    findings = await found(NO_KAFKA)

    assert findings.exit_code == 2
    findings.must("Kafka TCP", Status.FAIL)
    assert not [finding for finding in findings.all if finding.check.startswith("Aries")]

    findings = await found(NO_ARIES)
    assert findings.exit_code == 2
    findings.must("Aries TCP", Status.FAIL)
    assert not [finding for finding in findings.all if finding.check.startswith("Kafka")]
