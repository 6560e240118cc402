"""Marks: the records of the shards topic, by which processes claim, hold and release a shard.

A mark is JSON, so that any console consumer shows it; its key is the number of the shard, as the topic is compacted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, NamedTuple

import msgspec

#: How often an owner renews its lease, and for how long a mark says that it holds the shard.
HOLD_INTERVAL_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 5.0
#: By how much earlier an owner stops than others may begin, so that what it has just written has arrived.
LEASE_MARGIN_SECONDS: Final = 1.0


#: The longest lease that others wait for: what claims a longer one was not written by a bridge.
MAX_LEASE_MS: Final = 60_000
#: The largest BRIDGE_SHARDS. What is shown is counted shard by shard, in the event loop that publishes.
MAX_SHARDS: Final = 1024
#: What numbers may be. A record of another client must not become an epoch or a session that no bridge can exceed, or
#: that Avro cannot hold; above it there is room, and no usual "largest number" is just below it.
_Number = Annotated[int, msgspec.Meta(ge=0, le=3 << 60)]


class MarkKind(StrEnum):
    """What a mark says."""

    CLAIM = "claim"  # the shard is wanted at this epoch: its holder must release it
    HOLD = "hold"  # the holder has it for ``lease_ms`` from now
    RELEASE = "release"  # nothing of this epoch or an earlier one follows


class Progress(NamedTuple):
    """How far a shard is published: its latest session, and when its data was last received (µs since the epoch)."""

    session_id: int | None = None
    last_data_us: int | None = None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One mark of a shard.

    ``epoch`` grows with each claim; of two claims with the same epoch the first in the log counts. ``session_id`` is
    the latest session of the shard, ``last_data_us`` when its data was last received (µs since the epoch).
    """

    kind: MarkKind
    shard: Annotated[int, msgspec.Meta(ge=0, lt=MAX_SHARDS)]
    shards: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)]
    epoch: _Number
    owner: str
    process: str
    session_id: _Number | None = None
    last_data_us: _Number | None = None
    lease_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_LEASE_MS)] = round(LEASE_SECONDS * 1000)
    time_us: _Number = 0

    @property
    def tenure(self) -> tuple[str, int]:
        """Return what the marks of one owner have in common from its claim to its release."""
        return self.process, self.epoch


#: What JSON of another client raises when it is decoded, also if its text is not UTF-8, or nested deeply.
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Mark)


def encode(mark: Mark) -> tuple[bytes, bytes]:
    """Return the key and the value of a mark's record."""
    return str(mark.shard).encode(), _encoder.encode(mark)


def decode(value: bytes | None) -> Mark | None:
    """Return the mark of a record, None if it is none: a later version of the bridge may write other records.

    Whatever anybody writes ends no process: all of them would read it, and again after each start.
    """
    try:
        return _decoder.decode(value or b"")
    except UNREADABLE:
        return None
