"""A reader of the raw topics that knows nothing of ``verify``: one owner at a time, and gaps that are announced."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bridge.aries.subscriptions.shards import MARKET_STATUS_SHARD, shard_of
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.service import Published

    Stream = tuple[Topic, str | None]

#: By how much the announced times of a gap may differ from those of the records around it: feeds pause.
TOLERANCE_US = 1_000_000


@dataclass
class _Span:
    """The records of one session of a symbol: when they were read."""

    first_us: int
    last_us: int
    last_seq: int


def check_sessions(market: Iterable[Published], *, clocks_agree: bool) -> int:
    """Assert that a symbol's sessions do not go back, nor overlap in time; return how many records came late.

    Records are late if they come behind those of a newer session: the last ones of an owner whose lease had ended.
    """
    spans: dict[Stream, dict[int, _Span]] = defaultdict(dict)
    late = 0
    for one in market:
        record, sessions = one.record, spans[one.topic, one.key]
        session_id, read_us, seq = record["session_id"], record["ingest_time_us"], record["seq"]
        late += session_id < max(sessions, default=0)
        span = sessions.get(session_id)
        if span is None:
            assert record["after_gap"], f"the first record of {one.key} in session {session_id} has no after_gap"
            sessions[session_id] = _Span(read_us, read_us, seq)
            continue
        if seq > span.last_seq:
            span.last_us, span.last_seq = max(span.last_us, read_us), seq
    for stream, sessions in spans.items():
        for (older, before), (newer, after) in pairwise(sorted(sessions.items())):
            if clocks_agree:
                message = f"{stream}: session {older} read on after session {newer} had begun"
                assert before.last_us <= after.first_us, message
    return late


def check_announcements(market: Sequence[Published], control: Sequence[Mapping[str, Any]]) -> None:
    """Assert that each shard that was taken over has its GAP and RESUMED, which tell when data was missing."""
    for place, claimed in enumerate(control):
        if claimed["kind"] != "SHARD_CLAIMED" or claimed["gap_from_us"] is None:
            continue
        following = [one for one in control[place + 1 :] if _is_of(one, claimed)]
        ends = [number for number, one in enumerate(following) if one["kind"] in ("SHARD_RELEASED", "SHARD_CLAIMED")]
        tenure = following[: ends[0]] if ends else following
        assert [one["kind"] for one in tenure[:1]] in (["GAP"], []), f"no GAP follows {claimed}"
        resumed = next((one for one in tenure if one["kind"] == "RESUMED"), None)
        started = next((one for one in tenure if one["kind"] == "SESSION_STARTED"), None)
        if resumed is None or started is None:
            assert ends, f"no RESUMED follows {claimed}"
            continue
        assert resumed["gap_from_us"] == claimed["gap_from_us"]
        _check_times(market, resumed, started["session_id"])


def _is_of(record: Mapping[str, Any], claimed: Mapping[str, Any]) -> bool:
    return all(record[name] == claimed[name] for name in ("instance", "shard", "shards"))


def _check_times(market: Sequence[Published], resumed: Mapping[str, Any], session_id: int) -> None:
    """Assert that the announced gap is that of the records: it begins not later, and ends not earlier."""
    own = [one.record for one in market if _shard(one, resumed["shards"]) == resumed["shard"]]
    before = [one["ingest_time_us"] for one in own if one["session_id"] < session_id]
    after = [one["ingest_time_us"] for one in own if one["session_id"] == session_id]
    if before and after:
        announced = f"{resumed['gap_from_us']} to {resumed['gap_to_us']}, records {max(before)} to {min(after)}"
        assert resumed["gap_from_us"] <= max(before) + TOLERANCE_US, announced
        assert min(after) <= resumed["gap_to_us"] + TOLERANCE_US, announced


def _shard(one: Published, shards: int) -> int:
    return MARKET_STATUS_SHARD if one.topic is Topic.MARKET_STATUS else shard_of(str(one.key), shards)
