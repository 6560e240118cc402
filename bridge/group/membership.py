"""A member of the consumer group: join, synchronize, heartbeat, leave (Kafka's classic group protocol, KIP-62).

aiokafka's own coordinator cannot be used: it serves a consumer that commits offsets, stops on errors until they are
asked for, and says neither when the coordinator last confirmed the membership nor what members know of each other.
A rebalance is no reason to stop a stream here, as the marks decide who owns a shard.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiokafka import errors as kafka_errors
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest

from bridge import log_events
from bridge.backoff import Backoff
from bridge.clock import boot_seconds
from bridge.errors import KafkaUnreachable, SecretUnreadable, SettingsError
from bridge.group import member_data
from bridge.group.assignment import assign
from bridge.group.heartbeat import HeartbeatRequest
from bridge.group.member_data import Member, Members
from bridge.kafka.aiokafka_internals import Client
from bridge.kafka.client_options import CONNECT_TIMEOUT_SECONDS, readable_errors
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

log = structlog.get_logger(__name__)

#: A member that is silent for so long is removed; brokers take no less by default (group.min.session.timeout.ms).
SESSION_TIMEOUT_SECONDS: Final = 6.0
HEARTBEAT_SECONDS: Final = 0.5
#: Between heartbeats while a rebalance is expected, since the mark of an owner says that it has left.
HURRIED_HEARTBEAT_SECONDS: Final = 0.05
HURRY_SECONDS: Final = 2.0
#: The longest that members may take to join again; a member that is told of a rebalance does at once.
REBALANCE_TIMEOUT_SECONDS: Final = 6.0
#: The longest wait for an answer to a heartbeat, and to the request to leave.
ANSWER_TIMEOUT_SECONDS: Final = 3.0
LEAVE_TIMEOUT_SECONDS: Final = 1.0
#: The first member of a group waits for others (group.initial.rebalance.delay.ms), and a rebalance for the silent ones.
JOIN_TIMEOUT_SECONDS: Final = 30.0
REJOIN_PAUSE_SECONDS: Final = 0.02
PROTOCOL_NAME: Final = "aries-shards"


class FencedInstanceId(kafka_errors.BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """The error FENCED_INSTANCE_ID (KIP-345), which aiokafka does not know."""

    errno = 82


_REJOIN = (
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.MemberIdRequired,
)
#: Among them secrets and certificates that are just being replaced.
_RETRIED = (kafka_errors.KafkaError, KafkaUnreachable, SettingsError, SecretUnreadable, TimeoutError, OSError)
_OTHER_COORDINATOR = (kafka_errors.GroupCoordinatorNotAvailableError, kafka_errors.NotCoordinatorForGroupError)
#: What a person must change, by error.
_HINTS: Final = {
    kafka_errors.GroupAuthorizationFailedError: "grant Read on the group to this user",
    kafka_errors.TopicAuthorizationFailedError: "grant Read on the topic to this user",
    kafka_errors.InconsistentGroupProtocolError: "the group has other members than bridges: use another BRIDGE_GROUP",
    kafka_errors.InvalidSessionTimeoutError: (
        f"let the brokers accept a session timeout of {SESSION_TIMEOUT_SECONDS:g} s (group.min.session.timeout.ms)"
    ),
    FencedInstanceId: "another process has the same BRIDGE_INSTANCE: names must differ",
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the leader of a generation has given to this member, and what it knew of all members."""

    generation: int
    shards: tuple[int, ...]
    members: tuple[Member, ...]


class Membership:
    """A membership that lasts until it is left: joined again whenever that is needed, over a client of its own."""

    def __init__(
        self,
        *,
        group_id: str,
        topic: str,
        instance_id: str | None,
        options: Callable[[], Mapping[str, object]],
        about: Callable[[], Member],
        count_in_force: Callable[[], int | None],
        on_assignment: Callable[[Assignment | None], None],
    ) -> None:
        """``instance_id`` makes the membership static (KIP-345).

        ``about`` returns what this member tells the others. ``on_assignment`` is called with each assignment, and with
        None while there is none, as during a rebalance.
        """
        self.assignment: Assignment | None = None
        #: The newest assignment, also during a rebalance; None before the first, and once the membership is lost.
        self.last_assignment: Assignment | None = None
        self.rebalances = 0
        #: When the coordinator last confirmed the membership (monotonic seconds of the request), and what is wrong.
        self.confirmed_at: float | None = None
        self.problem = "not joined yet"
        #: When Kafka was last reached again after so long that the group has removed us (seconds of the leases' clock).
        self.returned_at: float | None = None
        self._group_id, self._topic, self._instance_id = group_id, topic, instance_id
        self._options = options
        self._about = about
        self._count_in_force = count_in_force
        self._on_assignment = on_assignment
        self._client: Client | None = None
        self._coordinator: int | None = None
        self._member_id = ""
        self._generation = -1
        self._must_join = asyncio.Event()
        self._is_leaving = False
        self._hurried_until = 0.0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Be a member until cancelled."""
        backoff = Backoff(0.1, 5.0)
        try:
            while not self._is_leaving:
                try:
                    await self._connect()
                    await self._join()
                    backoff.reset()
                    await self._heartbeat_until_rejoin()
                except _RETRIED as error:
                    self._note_failure(error)
                    if not isinstance(error, _OTHER_COORDINATOR):
                        await self._close_client()  # all brokers may have moved: ask the bootstrap servers again
                    await asyncio.sleep(backoff.next_seconds())
            await self._send_leave()  # it may have joined after that
            await asyncio.Event().wait()  # until cancelled: the request to leave needs the connection
        finally:
            await self._close_client()

    def rejoin(self) -> None:
        """Join again soon: what this member tells the others has changed."""
        self._must_join.set()
        self._wake.set()

    def hurry(self) -> None:
        """Ask at short intervals for a while whether the group is rebalancing."""
        self._hurried_until = time.monotonic() + HURRY_SECONDS
        self._wake.set()

    async def leave(self) -> None:
        """Leave the group for good, so that its members need not wait for the session timeout."""
        self._is_leaving = True
        await self._send_leave()

    async def _send_leave(self) -> None:
        client, coordinator, member_id = self._client, self._coordinator, self._member_id
        if client is None or coordinator is None or not member_id:
            return
        self._member_id = ""
        request = LeaveGroupRequest(self._group_id, member_id)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                response = await client.send(coordinator, request, group=ConnectionGroup.DEFAULT)
        except (kafka_errors.KafkaError, TimeoutError, OSError) as error:
            log.warning(log_events.GROUP_NOT_LEFT, reason=str(error) or type(error).__name__)
        else:
            if response.error_code:
                log.warning(log_events.GROUP_NOT_LEFT, reason=kafka_errors.for_code(response.error_code).__name__)

    # -- connection ---------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Connect to Kafka, and find the group's coordinator."""
        if self._client is None:
            options = self._options()
            client = Client(options, [self._topic])
            try:
                async with readable_errors(options), asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
            if self._is_overdue():
                self.returned_at = boot_seconds()
        if self._coordinator is None:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                self._coordinator = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group_id)

    async def _close_client(self) -> None:
        client, self._client, self._coordinator = self._client, None, None
        if client is not None:
            client.abort_connections()
            with suppress(TimeoutError, kafka_errors.KafkaError, OSError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await client.close()

    async def _send(self, request: object, timeout_seconds: float) -> Any:
        """Send a request to the coordinator and return its response; raise the error that it names."""
        assert self._client is not None
        assert self._coordinator is not None
        async with asyncio.timeout(timeout_seconds):
            response = await self._client.send(self._coordinator, request, group=ConnectionGroup.COORDINATION)
        code = response.error_code
        error = FencedInstanceId if code == FencedInstanceId.errno else kafka_errors.for_code(code)
        if error is kafka_errors.MemberIdRequired:  # KIP-394: join again with the id that the coordinator gives
            self._member_id = response.member_id
        if error is not kafka_errors.NoError:
            raise error(self._group_id)
        return response

    # -- joining ------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Join the group, and take the assignment of the new generation."""
        self._must_join.clear()
        self._set_assignment(None)
        try:
            joined = await self._send(self._join_request(), JOIN_TIMEOUT_SECONDS)
            self._member_id, self._generation = joined.member_id, joined.generation_id
            assignments = self._assign(joined.members) if joined.leader_id == joined.member_id else []
            sent_at = time.monotonic()
            synced = await self._send(self._sync_request(assignments), JOIN_TIMEOUT_SECONDS)
        except _REJOIN as error:
            if isinstance(error, kafka_errors.UnknownMemberIdError | kafka_errors.IllegalGenerationError):
                self._member_id = ""
            self._must_join.set()
            await asyncio.sleep(REJOIN_PAUSE_SECONDS)
            return
        self.confirmed_at, self.problem = sent_at, ""
        self.rebalances += 1
        decoded = ConsumerProtocol.ASSIGNMENT.decode(synced.member_assignment)
        shards = tuple(partition.partition for partition in decoded.partitions() if partition.topic == self._topic)
        members = member_data.decode_members(decoded.user_data)
        self._set_assignment(Assignment(self._generation, shards, members))

    def _join_request(self) -> JoinGroupRequest:
        metadata = ConsumerProtocol.METADATA(0, [self._topic], member_data.encode(self._about()))
        return JoinGroupRequest(
            self._group_id,
            round(SESSION_TIMEOUT_SECONDS * 1000),
            round(REBALANCE_TIMEOUT_SECONDS * 1000),
            self._member_id,
            self._instance_id,
            ConsumerProtocol.PROTOCOL_TYPE,
            [(PROTOCOL_NAME, metadata.encode())],
        )

    def _sync_request(self, assignments: Sequence[tuple[str, bytes]]) -> SyncGroupRequest:
        return SyncGroupRequest(self._group_id, self._generation, self._member_id, self._instance_id, assignments)

    def _assign(self, joined: Collection[Sequence[Any]]) -> list[tuple[str, bytes]]:
        """Return the assignment of each member, as the leader of the generation."""
        members: dict[str, Member] = {}
        for member_id, *_, metadata in joined:
            about = member_data.decode_member(ConsumerProtocol.METADATA.decode(metadata).user_data)
            if about is not None:
                members[member_id] = about
        assigned = assign(members, self._count_in_force())
        known = tuple(
            msgspec.structs.replace(member, assigned=assigned[member_id]) for member_id, member in members.items()
        )
        user_data = member_data.encode(Members(members=known))
        return [
            (member_id, ConsumerProtocol.ASSIGNMENT(0, [(self._topic, list(shards))], user_data).encode())
            for member_id, shards in assigned.items()
        ]

    def _set_assignment(self, assignment: Assignment | None) -> None:
        self.assignment = assignment
        self.last_assignment = assignment or self.last_assignment
        self._on_assignment(assignment)

    # -- heartbeats ---------------------------------------------------------------------------------------------

    async def _heartbeat_until_rejoin(self) -> None:
        """Send heartbeats until the group rebalances, or this member has something new to say."""
        while not (self._must_join.is_set() or self._is_leaving):
            hurried = time.monotonic() < self._hurried_until
            self._wake.clear()
            await wait_until_set(self._wake, HURRIED_HEARTBEAT_SECONDS if hurried else HEARTBEAT_SECONDS)
            if self._is_leaving:
                return
            sent_at = time.monotonic()
            try:
                request = HeartbeatRequest(self._group_id, self._generation, self._member_id, self._instance_id)
                await self._send(request, ANSWER_TIMEOUT_SECONDS)
            except _REJOIN as error:
                if isinstance(error, kafka_errors.UnknownMemberIdError):
                    self._member_id = ""
                return
            self.confirmed_at = sent_at

    def _note_failure(self, error: Exception) -> None:
        """Log what is wrong, once for each reason that a person can change, and prepare the next attempt."""
        hint = _HINTS.get(type(error))
        reason = f"{type(error).__name__}: {error}".rstrip(": ") + (f" ({hint})" if hint else "")
        if hint is not None and self.problem != reason:
            log.error(log_events.GROUP_REFUSED, group=self._group_id, reason=reason)
        elif not self.problem:
            log.warning(log_events.GROUP_UNREACHABLE, group=self._group_id, reason=reason)
        self.problem = reason
        self._coordinator = None
        if isinstance(error, FencedInstanceId):
            # Under the same name the two would drive each other out for ever: this one goes on as a dynamic member.
            self._member_id, self._instance_id = "", None
        if self.confirmed_at is None or self._is_overdue():
            self._set_assignment(None)
            self.last_assignment = None

    def _is_overdue(self) -> bool:
        """Return whether the group has removed this member, which has been silent for too long."""
        return self.confirmed_at is not None and time.monotonic() - self.confirmed_at > SESSION_TIMEOUT_SECONDS
