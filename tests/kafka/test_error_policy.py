"""Every error that can end a batch has its reaction."""

from __future__ import annotations

import pytest
from aiokafka import errors as kafka_errors

from bridge.kafka.error_policy import MAX_UNKNOWN_ERRORS, Reaction, reaction


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (kafka_errors.MessageSizeTooLargeError(), Reaction.BISECT),
        (kafka_errors.RecordListTooLargeError(), Reaction.BISECT),
        (kafka_errors.InvalidTimestampError(), Reaction.BISECT),
        (kafka_errors.TopicAuthorizationFailedError("t"), Reaction.HOLD_TOPIC),
        (kafka_errors.UnknownTopicOrPartitionError(), Reaction.HOLD_TOPIC),
        (kafka_errors.PolicyViolationError(), Reaction.HOLD_TOPIC),
        (kafka_errors.UnknownError(), Reaction.HOLD_TOPIC),
        (kafka_errors.OutOfOrderSequenceNumber(), Reaction.RETRY),
        (kafka_errors.UnknownProducerId(), Reaction.RETRY),
        (kafka_errors.ProducerFenced(), Reaction.RETRY),
        (kafka_errors.ClusterAuthorizationFailedError(), Reaction.RETRY),
        (kafka_errors.SaslAuthenticationFailed(), Reaction.RETRY),
        (kafka_errors.IllegalSaslStateError(), Reaction.RETRY),
        (kafka_errors.RequestTimedOutError(), Reaction.RETRY),
        (kafka_errors.NotEnoughReplicasError(), Reaction.RETRY),
        (kafka_errors.KafkaConnectionError(), Reaction.RETRY),
        (TimeoutError(), Reaction.RETRY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_an_error_has_its_reaction(error: Exception, expected: Reaction) -> None:
    """A record's fault is bisected, a topic's is waited out, and everything else is tried again."""
    assert reaction(error, failures=1) is expected


def test_an_unknown_error_that_keeps_coming_is_taken_for_the_fault_of_a_record() -> None:
    """Aiokafka has no name for some answers about a record, so an unknown one is bisected at last."""
    reactions = [reaction(kafka_errors.UnknownError(), failures) for failures in range(1, MAX_UNKNOWN_ERRORS + 1)]
    assert reactions == [*[Reaction.HOLD_TOPIC] * (MAX_UNKNOWN_ERRORS - 1), Reaction.BISECT]
