"""In a pod of the chart, findings name values as well as settings."""

from __future__ import annotations

import pytest

from bridge.check.report import CheckResult, Status
from bridge.check.value_names import VALUE_NAMES, ValueNames

NAMES = '{"KAFKA_BOOTSTRAP_SERVERS": "kafka.bootstrapServers", "KAFKA_SASL_PASSWORD_FILE": "kafka.secretKeys.password"}'
RESULT = CheckResult(
    "Kafka", Status.FAIL, "KAFKA_BOOTSTRAP_SERVERS is not set", "Set KAFKA_SASL_PASSWORD and KAFKA_TOPIC_PREFIX."
)


def test_a_value_is_named_beside_its_setting() -> None:
    """A secret has the value that names its key; a setting without a value stays as it is."""
    named = ValueNames({VALUE_NAMES: NAMES}).name_in(RESULT)
    assert named.finding == "kafka.bootstrapServers (KAFKA_BOOTSTRAP_SERVERS) is not set"
    assert named.hint == "Set kafka.secretKeys.password (KAFKA_SASL_PASSWORD) and KAFKA_TOPIC_PREFIX."


@pytest.mark.parametrize("environ", [{}, {VALUE_NAMES: "{"}, {VALUE_NAMES: "[1]"}])
def test_outside_of_the_chart_nothing_changes(environ: dict[str, str]) -> None:
    """Without names, or with something else there, the findings stay as they are."""
    assert ValueNames(environ).name_in(RESULT) == RESULT
