"""Every error that can end a batch has its reaction."""

from __future__ import annotations

import pytest
from aiokafka import errors as kafka_errors

from bridge.kafka.error_policy import BatchRejected, Reaction, reaction


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, Reaction.RESEND) for code in (-1, 2, 5, 6, 7, 13, 19, 20, 56, 74, 75)),
        *((code, Reaction.FIND_RECORD) for code in (10, 18, 32, 44, 87)),
        *((code, Reaction.HOLD_TOPIC) for code in (3, 17, 29, 43, 76)),
        *((code, Reaction.REBUILD) for code in (31, 45, 47, 49, 59, 90)),
    ],
)
def test_a_code_has_its_reaction(code: int, expected: Reaction) -> None:
    """Only what the producer itself is at fault for replaces it."""
    assert reaction(BatchRejected(code)) is expected


@pytest.mark.parametrize("code", [101, 119, 12345])
def test_an_unknown_code_is_examined_and_named_by_its_number(code: int) -> None:
    """A code of a later version may be about a record or a topic: a part of the batch shows which."""
    assert reaction(BatchRejected(code)) is Reaction.FIND_RECORD
    assert str(code) in str(BatchRejected(code))


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.KafkaConnectionError(),
        kafka_errors.NodeNotReadyError(),
        kafka_errors.RequestTimedOutError(),
        kafka_errors.LeaderNotAvailableError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_connection_resends(error: Exception) -> None:
    """The producer still has its sequence numbers."""
    assert reaction(error) is Reaction.RESEND


@pytest.mark.parametrize("error", [kafka_errors.ProducerClosed(), ValueError("unexpected"), TimeoutError()])
def test_an_unexpected_error_replaces_the_producer(error: Exception) -> None:
    """What is not known to be harmless may have left the producer in any state."""
    assert reaction(error) is Reaction.REBUILD


def test_a_rejection_says_what_a_person_can_do() -> None:
    """Name, the broker's own words, and the setting to look at."""
    error = BatchRejected(87, "schema id 7 is not known")
    assert str(error) == (
        "INVALID_RECORD: schema id 7 is not known. If the broker validates schemas, compare SCHEMA_REGISTRY_URL with "
        "its registry."
    )
