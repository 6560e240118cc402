"""Values in Avro binary encoding, compared with fastavro's."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.serialization.fast.binary import (
    encode_boolean,
    encode_bytes,
    encode_double,
    encode_long,
    encode_map,
    encode_string,
)


def encoded_by_fastavro(declared: Any, value: object) -> bytes:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, declared, value)
    return buffer.getvalue()


@pytest.mark.parametrize("bits", range(64))
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_longs_at_every_width(bits: int, offset: int) -> None:
    """Numbers at which a varint gets longer, or a look-up table ends, are encoded as fastavro does."""
    for number in {(1 << bits) // 2 + offset, -((1 << bits) // 2) - offset}:
        assert encode_long(number) == encoded_by_fastavro("long", number)


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs(number: int) -> None:
    """Every 64-bit number is encoded as fastavro does."""
    assert encode_long(number) == encoded_by_fastavro("long", number)


@given(st.text(), st.binary(), st.floats(), st.booleans(), st.dictionaries(st.text(), st.text()))
def test_other_types(text: str, data: bytes, number: float, flag: bool, texts: dict[str, str]) -> None:  # noqa: FBT001 - a value to encode
    """Strings, bytes, doubles, booleans and maps are encoded as fastavro does."""
    assert encode_string(text) == encoded_by_fastavro("string", text)
    assert encode_bytes(data) == encoded_by_fastavro("bytes", data)
    assert encode_double(number) == encoded_by_fastavro("double", number)
    assert encode_boolean(flag) == encoded_by_fastavro("boolean", flag)
    assert encode_map(texts) == encoded_by_fastavro({"type": "map", "values": "string"}, texts)


@pytest.mark.parametrize("size", [63, 64, 8191, 8192, 8193, 2_000_000])
def test_lengths(size: int) -> None:
    """A length is encoded as fastavro does, however many bytes it takes."""
    assert encode_bytes(b"x" * size) == encoded_by_fastavro("bytes", b"x" * size)
