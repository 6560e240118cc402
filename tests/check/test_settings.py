"""Invalid settings of one side do not prevent the checks of the others."""

from __future__ import annotations

import pytest

from bridge.check.aries import CONNECTION as ARIES_CONNECTION
from bridge.check.kafka import CONNECTION as KAFKA_CONNECTION
from bridge.check.report import Status
from bridge.check.settings import Side, check_settings, is_valid
from tests.check.results import NO_ARIES, NO_KAFKA, Results, run_preflight

BOTH = {**NO_ARIES, **NO_KAFKA}


def test_valid_settings() -> None:
    """One line says how many are set."""
    results = Results()
    check_settings(results.report, BOTH)

    results.expect("Settings", Status.OK, "4 are set")


@pytest.mark.parametrize(
    ("symbols", "shards", "status", "finding"),
    [
        ("AAPL,AMZN,GOOG,META,MSFT,NVDA,TSLA,SPX", 3, Status.WARN, "8 symbols on 3 shards: "),
        (",".join(f"S{number}" for number in range(300)), 3, Status.OK, "300 symbols on 3 shards: "),
        (",".join(f"S{number}" for number in range(3000)), 20, Status.OK, " each"),
        ("AAPL", 2, Status.WARN, "1 symbol on 2 shards: "),
    ],
)
def test_the_sizes_of_shards_are_reported(symbols: str, shards: int, status: Status, finding: str) -> None:
    """Few symbols are spread unevenly, which is a warning."""
    results = Results()
    check_settings(results.report, {**BOTH, "ARIES_SYMBOLS": symbols, "BRIDGE_SHARDS": str(shards)})

    results.expect("Shards", status, finding)


@pytest.mark.parametrize(("shards", "spread"), [("1", "300 symbols on 1 shard: 300"), ("2", "300 symbols on 2 shards")])
def test_bridges_of_a_group_share_the_shards(shards: str, spread: str) -> None:
    """The line says so, and names the group; one shard is an owner with standbys."""
    symbols = ",".join(f"S{number}" for number in range(300))
    environ = {**BOTH, "ARIES_SYMBOLS": symbols, "BRIDGE_SHARDS": shards, "BRIDGE_SHARD": "group"}
    results = Results()
    check_settings(results.report, environ)

    results.expect("Shards", Status.OK, spread)
    results.expect("Shards", Status.OK, "the bridges of aries share the shards, others are standbys")


def test_each_problem_and_each_warning_is_a_line() -> None:
    """A problem is a failure, a suspicious setting a warning, and both have a hint."""
    results = Results()
    check_settings(results.report, {**BOTH, "KAFKA_LINGER_MS": "soon", "KAFKA_TOPIC": "x", "ARIES_SYMBOLS": ""})

    statuses = {result.finding.split()[0].split("=")[0]: result.status for result in results.all}
    assert statuses == {"KAFKA_LINGER_MS": Status.FAIL, "no": Status.FAIL, "KAFKA_TOPIC": Status.WARN}
    assert all(result.hint for result in results.all)


@pytest.mark.parametrize(
    ("environ", "invalid"),
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
def test_a_problem_belongs_to_one_side(environ: dict[str, str], invalid: str) -> None:
    """Only one side is invalid, and the others can be checked."""
    assert [side for side in Side if not is_valid(environ, side)] == ([invalid] if invalid else [])


async def test_valid_sides_are_checked() -> None:
    """Without symbols Aries is not checked, but Kafka is; the exit code is that of invalid settings."""
    results = await run_preflight(NO_KAFKA)

    assert results.exit_code == 2
    results.expect(KAFKA_CONNECTION, Status.FAIL)
    assert not [result for result in results.all if result.check.startswith("Aries")]

    results = await run_preflight(NO_ARIES)
    assert results.exit_code == 2
    results.expect(ARIES_CONNECTION, Status.FAIL)
    assert not [result for result in results.all if result.check.startswith("Kafka")]
