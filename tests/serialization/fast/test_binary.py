"""Values in Avro binary, judged by fastavro."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.serialization.fast.binary import (
    boolean_bytes,
    bytes_bytes,
    double_bytes,
    long_bytes,
    map_bytes,
    string_bytes,
)


def judged(declared: Any, value: object) -> bytes:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, declared, value)
    return buffer.getvalue()


@pytest.mark.parametrize("bits", range(64))
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_longs_at_every_width(bits: int, beside: int) -> None:
    """Where a varint gets longer, and where a table ends, no number is written wrong."""
    for number in {(1 << bits) // 2 + beside, -((1 << bits) // 2) - beside}:
        assert long_bytes(number) == judged("long", number)


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs(number: int) -> None:
    """Every number of 64 bits is written as fastavro does."""
    assert long_bytes(number) == judged("long", number)


@given(st.text(), st.binary(), st.floats(), st.booleans(), st.dictionaries(st.text(), st.text()))
def test_the_other_types(text: str, data: bytes, number: float, flag: bool, texts: dict[str, str]) -> None:  # noqa: FBT001 - a value to write
    """Texts, bytes, doubles, booleans and maps are written as fastavro does."""
    assert string_bytes(text) == judged("string", text)
    assert bytes_bytes(data) == judged("bytes", data)
    assert double_bytes(number) == judged("double", number)
    assert boolean_bytes(flag) == judged("boolean", flag)
    assert map_bytes(texts) == judged({"type": "map", "values": "string"}, texts)


@pytest.mark.parametrize("size", [63, 64, 8191, 8192, 8193, 2_000_000])
def test_lengths(size: int) -> None:
    """A length takes as many bytes as it needs."""
    assert bytes_bytes(b"x" * size) == judged("bytes", b"x" * size)
