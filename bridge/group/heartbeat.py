"""The heartbeat of a static member: with its name, so that the coordinator can say that another process has taken it.

aiokafka's own (up to version 1) has no name, and the coordinator answers both of two such processes as unknown members.
"""

from __future__ import annotations

from typing import Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest_v0, HeartbeatRequest_v1
from aiokafka.protocol.types import Int16, Int32, Schema, String

_HEARTBEAT: Final = 12


class _HeartbeatResponseV3(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = _HEARTBEAT
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatRequestV3(RequestStruct):  # type: ignore[misc]  # likewise
    API_KEY = _HEARTBEAT
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponseV3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


_AnyHeartbeat = HeartbeatRequest_v0 | HeartbeatRequest_v1 | _HeartbeatRequestV3


class HeartbeatRequest(Request[_AnyHeartbeat]):  # type: ignore[misc]  # likewise
    """A heartbeat; ``instance_id`` is None for a dynamic member."""

    API_KEY = _HEARTBEAT

    def __init__(self, group_id: str, generation: int, member_id: str, instance_id: str | None) -> None:
        self._of_member = group_id, generation, member_id
        self._instance_id = instance_id

    def build(self, version: type[RequestStruct]) -> RequestStruct:
        """Build the request for a version that the broker supports; before version 3 it has no name."""
        name = (self._instance_id,) if version is _HeartbeatRequestV3 else ()
        return version(*self._of_member, *name)
