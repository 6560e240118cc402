"""What follows from an error that ended a batch: a pure function, and the table of codes behind it.

Codes and their meaning: "Protocol errors" of the Apache Kafka protocol guide. Errors are named by code, as aiokafka has
no name for the newer ones.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import errors as kafka_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN_SERVER_ERROR: Final = -1
NO_ERROR: Final = 0
UNKNOWN_TOPIC_OR_PARTITION: Final = 3
DUPLICATE_SEQUENCE_NUMBER: Final = 46


class Reaction(Enum):
    """What is done about a failed batch."""

    RESEND = auto()  # send the same batch again, under the same sequence number: a broker may have it
    FIND_RECORD = auto()  # send a part of it, until it is known which record is at fault, or that all are
    HOLD_TOPIC = auto()  # leave its topic alone for a while; its records wait
    REBUILD = auto()  # replace the producer


class _Code(NamedTuple):
    name: str
    reaction: Reaction
    hint: str = ""


_SIZE_HINT: Final = "Compare the topic's max.message.bytes with KAFKA_BATCH_BYTES."
_CODES: Final[Mapping[int, _Code]] = MappingProxyType(
    {
        UNKNOWN_SERVER_ERROR: _Code("UNKNOWN_SERVER_ERROR", Reaction.RESEND, "See the broker's log."),
        2: _Code("CORRUPT_MESSAGE", Reaction.RESEND),
        UNKNOWN_TOPIC_OR_PARTITION: _Code(
            "UNKNOWN_TOPIC_OR_PARTITION",
            Reaction.HOLD_TOPIC,
            "The topic does not exist, or this user may not describe it: `aries-bridge topics` creates it.",
        ),
        5: _Code("LEADER_NOT_AVAILABLE", Reaction.RESEND),
        6: _Code("NOT_LEADER_OR_FOLLOWER", Reaction.RESEND),
        7: _Code("REQUEST_TIMED_OUT", Reaction.RESEND),
        8: _Code("BROKER_NOT_AVAILABLE", Reaction.RESEND),
        9: _Code("REPLICA_NOT_AVAILABLE", Reaction.RESEND),
        10: _Code("MESSAGE_TOO_LARGE", Reaction.FIND_RECORD, _SIZE_HINT),
        13: _Code("NETWORK_EXCEPTION", Reaction.RESEND),
        17: _Code("INVALID_TOPIC_EXCEPTION", Reaction.HOLD_TOPIC, "Check KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>."),
        18: _Code("RECORD_LIST_TOO_LARGE", Reaction.FIND_RECORD, _SIZE_HINT),
        19: _Code(
            "NOT_ENOUGH_REPLICAS",
            Reaction.RESEND,
            "Fewer replicas are in sync than the topic's min.insync.replicas.",
        ),
        20: _Code(
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            Reaction.RESEND,
            "Fewer replicas are in sync than the topic's min.insync.replicas.",
        ),
        29: _Code("TOPIC_AUTHORIZATION_FAILED", Reaction.HOLD_TOPIC, "Grant Write on the topic to this user."),
        31: _Code("CLUSTER_AUTHORIZATION_FAILED", Reaction.REBUILD, "Grant IdempotentWrite on the cluster."),
        32: _Code(
            "INVALID_TIMESTAMP",
            Reaction.FIND_RECORD,
            "Check this machine's clock, and the topic's message.timestamp.* settings.",
        ),
        35: _Code("UNSUPPORTED_VERSION", Reaction.HOLD_TOPIC),
        42: _Code("INVALID_REQUEST", Reaction.FIND_RECORD),
        43: _Code(
            "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            Reaction.HOLD_TOPIC,
            "Set its message.format.version to 0.11.0.",
        ),
        44: _Code("POLICY_VIOLATION", Reaction.FIND_RECORD),
        45: _Code("OUT_OF_ORDER_SEQUENCE_NUMBER", Reaction.REBUILD),
        47: _Code("INVALID_PRODUCER_EPOCH", Reaction.REBUILD),
        49: _Code("INVALID_PRODUCER_ID_MAPPING", Reaction.REBUILD),
        56: _Code("KAFKA_STORAGE_ERROR", Reaction.RESEND),
        59: _Code("UNKNOWN_PRODUCER_ID", Reaction.REBUILD),
        74: _Code("FENCED_LEADER_EPOCH", Reaction.RESEND),
        75: _Code("UNKNOWN_LEADER_EPOCH", Reaction.RESEND),
        76: _Code(
            "UNSUPPORTED_COMPRESSION_TYPE",
            Reaction.HOLD_TOPIC,
            "The broker does not support it: change KAFKA_COMPRESSION, for example to gzip.",
        ),
        87: _Code(
            "INVALID_RECORD",
            Reaction.FIND_RECORD,
            "If the broker validates schemas, compare SCHEMA_REGISTRY_URL with its registry.",
        ),
        89: _Code("THROTTLING_QUOTA_EXCEEDED", Reaction.RESEND),
        90: _Code("PRODUCER_FENCED", Reaction.REBUILD),
        100: _Code("UNKNOWN_TOPIC_ID", Reaction.HOLD_TOPIC),
    }
)
#: Errors of the connection: whether the batch arrived is not known.
_CONNECTION_ERRORS: Final = (
    kafka_errors.KafkaConnectionError,
    kafka_errors.NodeNotReadyError,
    kafka_errors.RequestTimedOutError,
    kafka_errors.CorrelationIdError,
    kafka_errors.LeaderNotAvailableError,
)


class BatchRejected(kafka_errors.KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """A broker's answer that it did not take a batch; ``record_indices`` are those of the records at fault, if sent."""

    def __init__(self, code: int, message: str = "", record_indices: tuple[int, ...] = ()) -> None:
        self.code = code
        self.message = message
        self.record_indices = record_indices
        super().__init__(code, message, record_indices)

    @property
    def name(self) -> str:
        """Return the name of the code, or the number of one that is not known here."""
        return _CODES[self.code].name if self.code in _CODES else f"error {self.code}"

    def __str__(self) -> str:
        hint = _CODES[self.code].hint if self.code in _CODES else ""
        said = f"{self.name}: {self.message.rstrip('.')}." if self.message else f"{self.name}."
        return f"{said} {hint}".rstrip()


class NotSent(kafka_errors.KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """A batch that was not sent, as nothing may be sent at the moment: no broker has it."""


def reaction(error: BaseException) -> Reaction:
    """Return what to do about a batch that failed.

    An answer with an unknown code may mean a record or a topic, and what becomes of a part of the batch shows which.
    """
    if isinstance(error, BatchRejected):
        return _CODES[error.code].reaction if error.code in _CODES else Reaction.FIND_RECORD
    if isinstance(error, _CONNECTION_ERRORS):
        return Reaction.RESEND
    return Reaction.REBUILD
