"""What Kafka reports about a consumer group: its coordinator, its state, and its members.

These requests are read-only. They need Describe on the group, which Read includes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import KafkaError, NodeNotReadyError, for_code
from aiokafka.protocol.admin import (
    DescribeGroupsRequest_v0,
    DescribeGroupsRequest_v1,
    DescribeGroupsRequest_v2,
    DescribeGroupsRequest_v3,
    DescribeGroupsResponse_v3,
)
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.coordination import FindCoordinatorRequest

from bridge.kafka.cluster import READ, send_to_any_broker
from bridge.kafka.metadata_request import UNKNOWN_OPERATIONS

if TYPE_CHECKING:
    from bridge.kafka.aiokafka_internals import Client

_OF_GROUPS: Final = 0
_RETRY_SECONDS: Final = 0.1
_NO_ERROR: Final = 0


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member as its coordinator knows it; what it says itself is not decoded."""

    member_id: str
    client_id: str
    host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A group as its coordinator describes it; ``state`` is Kafka's, and ``Dead`` if there is no such group."""

    group_id: str
    state: str
    members: tuple[GroupMember, ...]
    #: None if this Kafka does not report it.
    may_read: bool | None = None


class _DescribeGroupsV3(DescribeGroupsRequest_v3):  # type: ignore[misc]  # aiokafka ships no types
    """Version 3 with its own response: aiokafka reads that of version 2, without the authorized operations."""

    RESPONSE_TYPE = DescribeGroupsResponse_v3


_AnyDescribeGroups = DescribeGroupsRequest_v0 | DescribeGroupsRequest_v1 | DescribeGroupsRequest_v2 | _DescribeGroupsV3


class _DescribeGroupsRequest(Request[_AnyDescribeGroups]):  # type: ignore[misc]  # likewise
    API_KEY = 15

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, version: type[RequestStruct]) -> RequestStruct:
        """Build the request; ask for authorized operations if this version has them (KIP-430)."""
        return version([self._group_id], True) if version is _DescribeGroupsV3 else version([self._group_id])  # noqa: FBT003 - in the order of the schema


async def find_coordinator(client: Client, group_id: str, timeout_seconds: float) -> int:
    """Return the broker that coordinates a group; raise KafkaError.

    It is retried while there is none: a new cluster creates its topic of groups at the first request, and a broker
    that has failed is replaced after seconds.
    """
    async with asyncio.timeout(timeout_seconds):
        while True:
            response = await send_to_any_broker(client, FindCoordinatorRequest(group_id, _OF_GROUPS))
            error = for_code(response.error_code)
            if response.error_code == _NO_ERROR:
                return int(response.coordinator_id)
            if not error.retriable:
                raise error(group_id)
            await asyncio.sleep(_RETRY_SECONDS)


async def describe_group(client: Client, group_id: str, timeout_seconds: float) -> GroupDescription:
    """Return what the coordinator of a group knows of it; raise KafkaError, and TimeoutError if it has none."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            node = await find_coordinator(client, group_id, timeout_seconds)
            try:
                response = await client.send(node, _DescribeGroupsRequest(group_id))
                [group] = response.to_object()["groups"]
                _raise_for(group["error_code"], group_id)
            except KafkaError as error:
                if not (error.retriable or isinstance(error, NodeNotReadyError)):
                    raise
                await asyncio.sleep(_RETRY_SECONDS)  # it is loading the group, or another broker has it now
            else:
                return _described(group)


def _raise_for(code: int, group_id: str) -> None:
    if code != _NO_ERROR:
        raise for_code(code)(group_id)


def _described(group: dict[str, Any]) -> GroupDescription:
    operations = group.get("authorized_operations", UNKNOWN_OPERATIONS)
    return GroupDescription(
        group["group"],
        group["state"],
        tuple(
            GroupMember(
                member["member_id"],
                member["client_id"],
                member["client_host"].removeprefix("/"),
                member["member_metadata"] or b"",
                member["member_assignment"] or b"",
            )
            for member in group["members"]
        ),
        None if operations == UNKNOWN_OPERATIONS else bool(operations >> READ & 1),
    )
