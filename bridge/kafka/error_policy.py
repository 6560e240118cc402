"""What follows from an error that ended a batch: a pure function, and the tables behind it."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from aiokafka import errors as kafka_errors


class Reaction(Enum):
    """What is done about a failed batch, beside replacing the producer."""

    RETRY = auto()  # send it again at once
    BISECT = auto()  # send half of it, until the record that is rejected stands alone
    HOLD_TOPIC = auto()  # leave its topic alone for a while; its records wait


#: The broker rejects the content of a batch: one of its records is at fault.
RECORD_REJECTED: Final = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTimestampError,
)
#: The producer's own state is at fault: a new one has none, and may go on at once.
PRODUCER_POISONED: Final = (
    kafka_errors.OutOfOrderSequenceNumber,
    kafka_errors.UnknownProducerId,
    kafka_errors.InvalidProducerEpoch,
    kafka_errors.ProducerFenced,
)
#: So are its connections; with OAUTHBEARER a rejected token ends in an illegal state.
CONNECTION_REJECTED: Final = (
    kafka_errors.IllegalSaslStateError,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.ClusterAuthorizationFailedError,
)
#: aiokafka has no name for every answer, such as INVALID_RECORD (KIP-467): one that has come so often in a row for
#: a topic is taken for a record's fault.
MAX_UNKNOWN_ERRORS: Final = 4


def reaction(error: BaseException, failures: int) -> Reaction:
    """Return what to do about a batch that failed for the ``failures``-th time in a row of its topic."""
    if isinstance(error, RECORD_REJECTED):
        return Reaction.BISECT
    if isinstance(error, kafka_errors.UnknownError) and failures >= MAX_UNKNOWN_ERRORS:
        return Reaction.BISECT
    return Reaction.HOLD_TOPIC if _is_about_topic(error) else Reaction.RETRY


def _is_about_topic(error: BaseException) -> bool:
    """Return whether a broker says that it does not take a topic's records, and may do so later."""
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return True
    return (
        isinstance(error, kafka_errors.BrokerResponseError)
        and not error.retriable
        and not isinstance(error, PRODUCER_POISONED + CONNECTION_REJECTED)
    )
