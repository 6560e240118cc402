"""Produce requests as bytes: what another implementation of the protocol makes of them, in each version."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.protocol import produce
from aiokafka.protocol.api import RequestHeader_v1
from hypothesis import given
from hypothesis import strategies as some

from bridge.kafka.error_policy import DUPLICATE_SEQUENCE_NUMBER, BatchRejected
from bridge.kafka.produce_protocol import NEWEST_VERSION, OLDEST_VERSION, decode, encode, produce_version

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = range(OLDEST_VERSION, NEWEST_VERSION + 1)
INVALID_RECORD, NOT_LEADER = 87, 6
THROTTLE_MS = 1500
BATCHES = some.dictionaries(
    some.text(min_size=1, max_size=20),
    some.lists(some.tuples(some.integers(0, 1000), some.binary(max_size=50)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def answer_of(version: int, topics: list[tuple[str, list[tuple[Any, ...]]]]) -> bytes:
    """Return an answer as a broker encodes it; a partition is its number, code, record errors and message."""
    fields = []
    for name, partitions in topics:
        rows = []
        for number, code, record_errors, message in partitions:
            row: tuple[Any, ...] = (number, code, 7, -1)
            if version >= 5:
                row += (0,)
            if version >= 8:
                row += (record_errors, message)
            rows.append(row)
        fields.append((name, rows))
    response = getattr(produce, f"ProduceResponse_v{version}")(fields, THROTTLE_MS)
    encoded: bytes = response.encode()
    return encoded


@pytest.mark.parametrize("version", VERSIONS)
@given(batches=BATCHES)
def test_a_request_is_what_others_send(version: int, batches: Mapping[str, list[tuple[int, bytes]]]) -> None:
    """Byte for byte, header and size included."""
    reference = getattr(produce, f"ProduceRequest_v{version}")(None, -1, 30_000, list(batches.items()))
    body = RequestHeader_v1(reference, 77, "a bridge").encode() + reference.encode()
    assert encode(version, 77, b"a bridge", 30_000, batches) == struct.pack(">i", len(body)) + body
    assert type(reference).decode(BytesIO(reference.encode())).topics == list(batches.items())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_is_read(version: int) -> None:
    """Each partition has its error or none; a batch that the broker had already counts as acknowledged."""
    encoded = answer_of(
        version,
        [
            ("quotes", [(0, 0, [], None), (3, DUPLICATE_SEQUENCE_NUMBER, [], None)]),
            ("trädes", [(1, INVALID_RECORD, [(0, "no"), (4, None)], "no schema"), (2, NOT_LEADER, [], None)]),
        ],
    )
    answer = decode(version, b"head" + encoded, 4)
    assert list(answer.errors) == [("quotes", 0), ("quotes", 3), ("trädes", 1), ("trädes", 2)]
    taken, repeated, invalid, moved = answer.errors.values()
    assert (taken, repeated) == (None, None)
    assert isinstance(invalid, BatchRejected)
    assert isinstance(moved, BatchRejected)
    names_records = version >= 8
    assert (invalid.code, invalid.message) == (INVALID_RECORD, "no schema" if names_records else "")
    assert invalid.record_indices == ((0, 4) if names_records else ())
    assert (moved.code, moved.message, moved.record_indices) == (NOT_LEADER, "", ())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_to_wait_only_if_the_broker_has_not(version: int) -> None:
    """Brokers delay the answers of versions before 6 themselves (KIP-219)."""
    assert decode(version, answer_of(version, []), 0).throttle_seconds == (1.5 if version >= 6 else 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_that_ends_too_early_is_an_error(version: int) -> None:
    """It is never taken for an acknowledgement."""
    encoded = answer_of(version, [("quotes", [(0, 0, [(0, "no")], "a message")])])
    for end in range(len(encoded)):
        with pytest.raises((struct.error, ValueError)):
            decode(version, encoded[:end], 0)


@pytest.mark.parametrize(
    ("supported", "version"),
    [((0, 12), 8), ((3, 8), 8), ((0, 7), 7), ((0, 5), 5), ((0, 3), 3), ((0, 2), None), ((9, 12), None), (None, None)],
)
def test_the_newest_common_version_is_used(supported: tuple[int, int] | None, version: int | None) -> None:
    """Versions before 3 have no record batches of format 2; newer ones than 8 are not spoken."""
    assert produce_version({} if supported is None else {0: supported}) == version
