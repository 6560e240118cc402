"""Which version of Apache Kafka the tests run on."""

from __future__ import annotations

import pytest

from tests.support.kafka_distribution import VERSION_VARIABLE, VERSIONS, is_at_least, version


@pytest.mark.parametrize("name", ["", None])
def test_the_newest_is_the_default(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice, or with an empty one, the tests run on the last of the versions."""
    monkeypatch.delenv(VERSION_VARIABLE, raising=False)
    if name is not None:
        monkeypatch.setenv(VERSION_VARIABLE, name)
    assert version() == VERSIONS[-1]


@pytest.mark.parametrize(("running", "reached"), [("3.3.2", False), ("3.5.0", True), ("3.10.1", True), ("4.0", True)])
def test_versions_are_compared_as_numbers(running: str, reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    """Number by number, not as text."""
    monkeypatch.setenv(VERSION_VARIABLE, running)
    assert is_at_least("3.5") is reached
