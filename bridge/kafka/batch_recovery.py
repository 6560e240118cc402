"""What is done about a batch that failed, short of a new producer: send it again, find the record, hold the topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bridge.backoff import Backoff
from bridge.errors import BadLine
from bridge.kafka.error_policy import UNKNOWN_TOPIC_OR_PARTITION, BatchRejected, Reaction

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.kafka.topic_backoff import TopicBackoff
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.partition_queue import PartitionQueue, Record

RESEND_MIN_SECONDS: Final = 0.05
RESEND_MAX_SECONDS: Final = 1.0
#: Answers in a row that say "not now" until the topic counts as blocked: a leader election takes fewer.
MAX_QUICK_RESENDS: Final = 6
#: Records set aside at a time, at most. It begins with one, and twice as many each time that the topic is held.
MAX_SUSPECTS: Final = 32
#: How often, and for how long, a record that was rejected alone waits for the other partitions of a topic that took
#: records a moment ago: if they go on, it is not the topic.
MAX_PROOF_WAITS: Final = 3
PROOF_WAIT_SECONDS: Final = 0.1
LIVELY_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Retry:
    """How a queue's batches have failed in a row."""

    backoff: Backoff = field(default_factory=lambda: Backoff(RESEND_MIN_SECONDS, RESEND_MAX_SECONDS))
    not_before: float = 0.0
    #: When a batch was rejected for its content (monotonic seconds), how many of its records are not dealt with yet,
    #: and the error of the last record set aside.
    rejected_at: float | None = None
    searched_records: int = 0
    suspicion: str = ""
    max_suspects: int = 1
    proof_waits: int = 0

    def settle(self, records: int) -> None:
        """Note that records are dealt with; after all of a rejected batch, the next rejection is another matter."""
        self.proof_waits = 0
        self.searched_records -= records
        if self.searched_records <= 0:
            self.rejected_at = None


class BatchRecovery:
    """The failures of each queue, and what they show: a record at fault, or a topic.

    A record is at fault if Kafka takes others of its topic. If every record of a topic is rejected, the topic is: its
    records wait. As a few records at fault may follow one another, more are looked at each time.
    """

    def __init__(self, ingest: Ingest, topic_backoff: TopicBackoff) -> None:
        self._ingest = ingest
        self._topic_backoff = topic_backoff
        self._retries: dict[PartitionQueue, _Retry] = {}
        #: When the newest batch of each topic was sent that Kafka took, by name (monotonic seconds).
        self._accepted_at: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Return whether a queue has failed since it was last accepted."""
        return bool(self._retries)

    def not_before(self, queue: PartitionQueue) -> float:
        """Return when a queue may be sent again (monotonic seconds)."""
        retry = self._retries.get(queue)
        return 0.0 if retry is None else retry.not_before

    def is_refused(self, name: str) -> bool:
        """Return whether a partition of a topic is refused again and again."""
        return any(
            queue.name == name and retry.backoff.attempts > MAX_QUICK_RESENDS for queue, retry in self._retries.items()
        )

    def accepted(self, queue: PartitionQueue, records: int) -> None:
        """Note that Kafka has taken a batch; it proves the records guilty that were set aside."""
        self._accepted_at[queue.name] = max(queue.sent_at, self._accepted_at.get(queue.name, 0.0))
        if (retry := self._retries.get(queue)) is None:
            return
        if queue.suspects:
            why = retry.suspicion
            self._ingest.reject_suspects(queue, lambda record: _rejected(record, why))
            queue.lift_limit()
        if not queue.is_limited:
            del self._retries[queue]
            return
        retry.backoff.reset()
        retry.not_before = 0.0
        retry.max_suspects = 1
        retry.settle(records)

    def failed(
        self, queue: PartitionQueue, error: BaseException, reaction: Reaction, records: int, now: float
    ) -> float:
        """Handle the failure of a batch that is requeued; return in how many seconds to send the queue again."""
        retry = self._retries.setdefault(queue, _Retry())
        if reaction is Reaction.FIND_RECORD:
            self._find_record(queue, retry, error, records, now)
        elif reaction is Reaction.HOLD_TOPIC:
            queue.end_search()
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
            self._topic_backoff.blame(queue.name, str(error))

    def _find_record(
        self, queue: PartitionQueue, retry: _Retry, error: BaseException, records: int, now: float
    ) -> None:
        if retry.rejected_at is None:
            retry.rejected_at, retry.searched_records = now, records
        indices = error.record_indices if isinstance(error, BatchRejected) else ()
        accepted_at = self._accepted_at.get(queue.name, 0.0)
        if queue.suspects:  # the record behind them was rejected, too
            self._search_on(queue, retry, error, now)
        elif indices and (len(indices) < records or accepted_at > retry.rejected_at):
            self._reject(queue, retry, indices, error)
        elif queue.halve_batch():
            pass
        elif accepted_at > retry.rejected_at:
            self._reject(queue, retry, [0], error)
        elif accepted_at and now - accepted_at < LIVELY_SECONDS and retry.proof_waits < MAX_PROOF_WAITS:
            retry.proof_waits += 1
            retry.not_before = now + PROOF_WAIT_SECONDS
        else:
            self._search_on(queue, retry, error, now)

    def _search_on(self, queue: PartitionQueue, retry: _Retry, error: BaseException, now: float) -> None:
        """Set the first record aside, which was rejected alone; with enough of them hold the topic instead."""
        if len(queue.waiting) > 1 and len(queue.suspects) < retry.max_suspects:
            retry.suspicion = str(error)
            self._ingest.set_aside_first(queue)
            return
        if queue.suspects:
            retry.max_suspects = min(2 * retry.max_suspects, MAX_SUSPECTS)
            queue.restore_suspects()
        self._topic_backoff.hold(queue.name, str(error), now)

    def _reject(self, queue: PartitionQueue, retry: _Retry, places: Collection[int], error: BaseException) -> None:
        """Dead-letter waiting records; if no other of the rejected batch is left, the next batch is a full one."""
        for place in sorted(places, reverse=True):
            self._ingest.reject_waiting(queue, place, _rejected(queue.waiting[place], str(error)))
        retry.settle(len(places))
        if retry.rejected_at is None:
            queue.lift_limit()


def _rejected(record: Record, why: str) -> BadLine:
    return BadLine("record_refused", f"Kafka rejected its record of {len(record[2])} bytes: {why}")
