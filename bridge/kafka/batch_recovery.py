"""What is done about a batch that failed, short of a new producer: send it again, find the record, hold the topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bridge.backoff import Backoff
from bridge.errors import BadLine
from bridge.kafka.error_policy import UNKNOWN_TOPIC_OR_PARTITION, BatchRejected, Reaction

if TYPE_CHECKING:
    from bridge.kafka.topic_backoff import TopicBackoff
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.partition_queue import PartitionQueue

RESEND_MIN_SECONDS: Final = 0.05
RESEND_MAX_SECONDS: Final = 1.0
#: Answers in a row that say "not now" until the topic counts as blocked: a leader election takes fewer.
MAX_QUICK_RESENDS: Final = 6


@dataclass(slots=True)
class _Retry:
    """How a queue's batches have failed in a row."""

    backoff: Backoff = field(default_factory=lambda: Backoff(RESEND_MIN_SECONDS, RESEND_MAX_SECONDS))
    not_before: float = 0.0
    #: When a batch was first rejected for its content (monotonic seconds), and the error of the record set aside.
    rejected_at: float | None = None
    suspicion: str = ""


class BatchRecovery:
    """The failures of each queue, and what they show: a record at fault, or a topic.

    A record is at fault if Kafka takes others of its topic. If every record of a topic is rejected, the topic is: its
    records wait.
    """

    def __init__(self, ingest: Ingest, topic_backoff: TopicBackoff) -> None:
        self._ingest = ingest
        self._topic_backoff = topic_backoff
        self._retries: dict[PartitionQueue, _Retry] = {}
        #: When Kafka last took a batch of each topic, by name (monotonic seconds).
        self._accepted_at: dict[str, float] = {}

    def not_before(self, queue: PartitionQueue) -> float:
        """Return when a queue may be sent again (monotonic seconds)."""
        retry = self._retries.get(queue)
        return 0.0 if retry is None else retry.not_before

    def accepted(self, queue: PartitionQueue, now: float) -> None:
        """Note that Kafka has taken a batch; it proves a record guilty that was set aside."""
        self._accepted_at[queue.name] = now
        if queue.suspect is not None:
            _, _, value, _ = queue.suspect
            self._ingest.reject_suspect(queue, _rejected(len(value), self._retries[queue].suspicion))
            queue.lift_limit()
        if not queue.is_limited:
            self._retries.pop(queue, None)
        elif (retry := self._retries.get(queue)) is not None:
            retry.backoff.reset()
            retry.not_before = 0.0

    def failed(
        self, queue: PartitionQueue, error: BaseException, reaction: Reaction, records: int, now: float
    ) -> float:
        """Handle the failure of a batch that is requeued; return in how many seconds to send the queue again."""
        retry = self._retries.setdefault(queue, _Retry())
        if reaction is Reaction.FIND_RECORD:
            self._find_record(queue, retry, error, records, now)
        elif reaction is Reaction.HOLD_TOPIC:
            queue.restore_suspect()
            queue.lift_limit()
            # Metadata tell better why a topic is unknown; the watchdog looks at them soon.
            is_unknown = isinstance(error, BatchRejected) and error.code == UNKNOWN_TOPIC_OR_PARTITION
            self._topic_backoff.hold(queue.name, str(error), now, quiet_times=2 if is_unknown else 0)
        else:
            self._resend(queue, retry, error, now)
        return max(0.0, retry.not_before - now)

    def _resend(self, queue: PartitionQueue, retry: _Retry, error: BaseException, now: float) -> None:
        queue.repeat_batch()
        retry.not_before = now + retry.backoff.next_seconds()
        if isinstance(error, BatchRejected) and retry.backoff.attempts > MAX_QUICK_RESENDS:
            self._topic_backoff.hold(queue.name, str(error), now)

    def _find_record(
        self, queue: PartitionQueue, retry: _Retry, error: BaseException, records: int, now: float
    ) -> None:
        retry.rejected_at = retry.rejected_at or now
        indices = error.record_indices if isinstance(error, BatchRejected) else ()
        if queue.suspect is not None:  # the record behind it was rejected, too
            queue.restore_suspect()
            self._topic_backoff.hold(queue.name, str(error), now)
        elif 0 < len(indices) < records:
            for index in sorted(indices, reverse=True):
                self._reject(queue, index, error)
        elif queue.halve_batch():
            pass
        elif self._accepted_at.get(queue.name, 0.0) > retry.rejected_at:
            self._reject(queue, 0, error)
            retry.rejected_at = None
        elif len(queue.waiting) > 1:
            retry.suspicion = str(error)
            self._ingest.set_aside_first(queue)
        else:
            self._topic_backoff.hold(queue.name, str(error), now)

    def _reject(self, queue: PartitionQueue, place: int, error: BaseException) -> None:
        _, _, value, _ = queue.waiting[place]
        self._ingest.reject_waiting(queue, place, _rejected(len(value), str(error)))


def _rejected(value_bytes: int, why: str) -> BadLine:
    return BadLine("record_refused", f"Kafka rejected its record of {value_bytes} bytes: {why}")
