"""Frames to lines, lines to objects."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol import ndjson as lines
from bridge.errors import BadLine

OBJECT = b'{"a":1}'


def whole(frame: bytes, max_lines: int = 2, max_bytes: int = 1000) -> list[bytes]:
    """Return all lines of a frame, split a few at a time."""
    found, start = lines.split_lines(frame, 0, max_lines, max_bytes)
    while start < len(frame):
        more, start = lines.split_lines(frame, start, max_lines, max_bytes)
        found += more
    return found


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (OBJECT, [OBJECT]),
        (OBJECT + b"\n", [OBJECT]),
        (OBJECT + b"\r\n" + OBJECT + b"\r\n", [OBJECT + b"\r", OBJECT + b"\r"]),
        (b"\n\n" + OBJECT + b"\n \t\r\n" + OBJECT, [OBJECT, OBJECT]),
        (b"", []),
        (b" ", []),
        (b"\r\n\r\n", []),
        (b"bad\n" + OBJECT, [b"bad", OBJECT]),
    ],
)
def test_a_frame_is_split_at_newlines(frame: bytes, expected: list[bytes]) -> None:
    """A frame has any number of lines; blank ones are ignored, and a carriage return may precede the newline."""
    assert [line for line in whole(frame) if line.strip()] == expected
    assert all(lines.parse(line) == {"a": 1} for line in expected if line != b"bad")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"this is no JSON", "not_json"),
        (b'{"a":NaNa}', "not_json"),
        (b'{"a":NaN', "not_json"),
        (b'{"a":NaN,"b":"\\ud800"}', "not_json"),
        (b'{"a":NaN,"b":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":NaN,"b":"\xff"}', "not_utf8"),
        (b"NaN", "not_an_object"),
        (b'{"a":1}{"b":2}', "not_json"),
        (b'{"a":1', "not_json"),
        (b'{"a":"\\ud800"}', "not_json"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b'{"\xc3\x28":1}', "not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        (b"null", "not_an_object"),
        (b'{"a":1}\xef\xbb\xbf', "not_json"),
        (b"true", "not_an_object"),
        (b"42", "not_an_object"),
        (b"4.2", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"[{}]", "not_an_object"),
    ],
)
def test_a_line_that_is_not_an_object_is_a_bad_line(line: bytes, reason: str) -> None:
    """Each way of not being a JSON object has its reason and text."""
    with pytest.raises(BadLine) as caught:
        lines.parse(line)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("the line is")


@pytest.mark.parametrize("depth", [lines.MAX_DEPTH + 1, 900, 1000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_line_that_is_too_deep_is_a_bad_line(depth: int, opened: bytes, closed: bytes) -> None:
    """It is rejected before its depth can be a problem for other code."""
    inner = opened * (depth - 1) + b"0" + closed * (depth - 1)
    for line in (b'{"a":' + inner + b"}", b"[" + inner + b"]", b'{"a":NaN,"b":' + inner + b"}", opened * 2 * depth):
        with pytest.raises(BadLine, match="levels deep") as caught:
            lines.parse(line)
        assert caught.value.reason == "not_json"


def test_depth_is_not_width() -> None:
    """A line of the maximum depth, one with many shallow objects, and brackets in texts are valid."""
    deep = b'{"a":' * lines.MAX_DEPTH + b"0" + b"}" * lines.MAX_DEPTH
    assert str(lines.parse(deep)).count("{") == lines.MAX_DEPTH
    wide = {"a": [{"b": []} for _ in range(2000)], "c": "[" * 5000}
    assert lines.parse(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("-NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("inf", "Infinity"),
        ("-inf", "-Infinity"),
        ('"NaN"', "NaN"),
        ('"a NaN, \\" NaN"', 'a NaN, " NaN'),
        ("[NaN, 1.50, NaN]", ["NaN", "1.50", "NaN"]),
    ],
)
def test_nan_and_infinity_are_texts(sent: str, expected: object) -> None:
    """They cost no line, and change no text; all else in the line is decoded as ever, to the last digit."""
    text = b'{"a":%s,"b":1.10,"c":NaN,"d":%d,"b":2.20}' % (sent.encode(), 10**40)
    assert lines.parse(text) == {"a": expected, "b": "2.20", "c": "NaN", "d": 10**40}


@pytest.mark.parametrize(
    "line",
    [
        b"\xef\xbb\xbf" + OBJECT,
        OBJECT + b"\0",
        b" \xef\xbb\xbf " + OBJECT + b"\r\0\0",
        b"\0" + OBJECT,
        OBJECT + b"\0\r",
    ],
)
def test_what_is_around_a_line_is_not_its_content(line: bytes) -> None:
    """A byte order mark before it, NUL bytes and white space around it are removed."""
    assert lines.content(line) == OBJECT


@pytest.mark.parametrize("line", [b"", b" \t\r", b"\0", b"\0\0\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\0"])
def test_a_blank_line_has_no_content(line: bytes) -> None:
    """NUL bytes and a byte order mark alone are no content."""
    assert lines.content(line) == b""


@pytest.mark.parametrize(
    "text",
    [
        *(b"pong", b"ping", b"h", b"heartbeat", b"\x01", b"1", b"PONG", b'"pong"', b"Keep-Alive", b"."),
        *(b"1701450000123", b"0", b"{}", b"[]", b"[ ]", b"[" + b" " * 1000 + b"]", b"null"),
    ],
)
def test_a_word_that_keeps_the_connection_alive_is_a_heartbeat(text: bytes) -> None:
    """In quotes or not, in any case; and so is a number alone, which has no symbol."""
    assert lines.is_heartbeat(text)


@pytest.mark.parametrize(
    "text", [b"hello", b"ping pong", b"-1", b"1.5", b"1" * 33, b'{"a":1}', b"[0]", b"true", b"\x01\x02", b'"']
)
def test_other_lines_are_none(text: bytes) -> None:
    """A line that is no heartbeat of the table may be one that should be understood."""
    assert not lines.is_heartbeat(text)


def elements(array: bytes, max_elements: int = 2, max_bytes: int = 1000) -> list[bytes]:
    """Return the elements of an array, split a few at a time."""
    found, start = lines.split_array(array, 0, max_elements, max_bytes)
    while start < len(array):
        more, start = lines.split_array(array, start, max_elements, max_bytes)
        assert len(more) <= max_elements + 1
        found += more
    return [element for element in found if element.strip()]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (b"[]", []),
        (b'[{"a":1}]', [b'{"a":1}']),
        (b'[{"a":[1,2],"b":"],["},[3,[4]],"\\"],[",5]', [b'{"a":[1,2],"b":"],["}', b"[3,[4]]", b'"\\"],["', b"5"]),
        (b'[{"a":1}, {"b":2}', [b'{"a":1}', b' {"b":2}']),
        (b'[{"a":1}, {"b":2', [b'{"a":1}', b' {"b":2']),
        (b'[{"a":1}] {"b":2}', [b'{"a":1}', b' {"b":2}']),
        (b'["a, "b"]', [b'"a, "b"]']),
        (b"[1,2,3,4,5", [b"1", b"2", b"3", b"4", b"5"]),
        (b"[1,,2,]", [b"1", b"2"]),
        (b"[", []),
        (b"[1," + b"[" * 300 + b"]" * 300 + b",2]", [b"1", b"[" * 300 + b"]" * 300 + b",2]"]),
    ],
)
def test_an_array_is_split_into_its_elements(array: bytes, expected: list[bytes]) -> None:
    """Each is what was sent, and an array in the array stays whole; no byte of an invalid array is lost."""
    assert elements(array) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON), st.integers(1, 5), st.integers(1, 30), st.booleans())
def test_an_array_has_the_same_elements_in_any_portions(
    values: list[object],
    max_elements: int,
    max_bytes: int,
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever is in it, and whatever a portion may hold."""
    array = json.dumps(values, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    found = elements(array, max_elements, max_bytes)
    assert [json.loads(element.decode(errors="surrogatepass")) for element in found] == values


@given(st.lists(st.sampled_from([b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"1"]), max_size=30).map(b"".join))
def test_no_byte_of_any_array_is_lost_but_separators(text: bytes) -> None:
    """Whether the array is valid or not."""
    found = elements(b"[" + text)
    assert b"".join(found).translate(None, b"[],{}") == text.translate(None, b"[],{}")
    assert len(found) <= text.count(b",") + 2


@pytest.mark.parametrize("digits", ["1.10", "-0.0", "1e5", "0.1234567890123456789", "1E400", "1." + "1" * 3000])
def test_no_digit_of_a_number_is_lost(digits: str) -> None:
    """A number with a fraction or an exponent stays the text that was sent."""
    assert lines.parse(b'{"a":%s}' % digits.encode()) == {"a": digits}


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64, -(2**70), 10**4000])
def test_whole_numbers_are_integers_of_any_size(number: int) -> None:
    """A whole number is an int, beyond 64 bits as well."""
    assert lines.parse(b'{"a":' + b"%d" % number + b"}") == {"a": number}


def test_a_long_line_is_decoded() -> None:
    """A line of 2 MB is decoded like any other."""
    assert lines.parse(b'{"a":"' + b"x" * 2_000_000 + b'"}') == {"a": "x" * 2_000_000}


@given(
    st.lists(st.binary(max_size=9) | st.sampled_from([b"", b" \r"])).map(b"\n".join),
    st.integers(1, 5),
    st.integers(1, 30),
)
def test_a_frame_has_the_same_lines_in_any_portions(frame: bytes, max_lines: int, max_bytes: int) -> None:
    """No line is cut, lost or repeated, whatever a portion may hold."""
    assert [line for line in whole(frame, max_lines, max_bytes) if line.strip()] == [
        line for line in frame.split(b"\n") if line.strip()
    ]
    portion, end = lines.split_lines(frame, 0, max_lines, max_bytes)
    assert len(portion) <= max_lines
    assert not portion or end - len(portion[-1]) - 1 <= max_bytes


@given(st.binary())
def test_any_bytes_are_lines_or_bad_lines(frame: bytes) -> None:
    """Each line is an object or a BadLine; only blank ones are ignored."""
    found = [line for line in whole(frame) if line.strip()]
    assert found == [line for line in frame.split(b"\n") if line.strip()]
    for line in found:
        with suppress(BadLine):
            assert type(lines.parse(lines.content(line))) is dict
