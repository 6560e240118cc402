"""Prices survive exactly, or are rounded and counted, or are refused."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal
from io import BytesIO

import fastavro
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.serialization.decimals import Prices, whole_number

DECIMAL = fastavro.parse_schema({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9})
STEP = Decimal("1e-9")
LARGEST = 10**18 - 1
FEED = msgspec.json.Decoder(float_hook=str)

decimals = st.integers(-LARGEST, LARGEST).map(lambda unscaled: Decimal(unscaled).scaleb(-9))

digits = st.text("0123456789", max_size=12)
exponents = st.one_of(st.just(""), st.integers(-30, 30).map(lambda exponent: f"e{exponent:+}"))
numbers = st.tuples(st.sampled_from(["", "+", "-"]), digits, st.sampled_from("05"), digits, exponents).map(
    lambda parts: "{}{}{}.{}{}".format(*parts)
)


def read(data: bytes) -> Decimal:
    """Let fastavro say what the bytes mean."""
    body = BytesIO()
    fastavro.schemaless_writer(body, DECIMAL, data)
    body.seek(0)
    value = fastavro.schemaless_reader(body, DECIMAL, None)
    assert isinstance(value, Decimal)
    return value


@given(decimals)
@example(Decimal("-0.000000001"))
@example(Decimal("0E-9"))
@example(Decimal("-0.000000128"))
@example(Decimal("0.000000128"))
def test_prices_survive_in_every_notation(value: Decimal) -> None:
    """A decimal with at most nine decimals below 10^9 comes back equal, however it is written."""
    prices = Prices()
    for text in (str(value), f"{value:f}", f"{value:e}", f"{value.normalize()}", f"{value.normalize():f}"):
        assert read(prices[text]) == value
    assert prices.rounded == 0


@given(decimals)
def test_json_numbers_survive(value: Decimal) -> None:
    """A JSON number comes back equal, through the decoder that the bridge uses."""
    (number,) = FEED.decode(f"[{value:f}]")
    assert read(Prices()[number]) == value


@given(st.integers(-(10**9) + 1, 10**9 - 1))
def test_integers_survive(value: int) -> None:
    """A whole price may come as an int."""
    assert read(Prices()[value]) == value


@given(decimals)
def test_bytes_are_as_short_as_can_be(value: Decimal) -> None:
    """The bytes are those of Java's BigInteger.toByteArray: no needless sign byte."""
    data = Prices()[f"{value:f}"]
    unscaled = int(value.scaleb(9))
    assert int.from_bytes(data, "big", signed=True) == unscaled
    if len(data) > 1:
        assert int.from_bytes(data[1:], "big", signed=True) != unscaled


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8, places=14))
@example(Decimal("0.0000000005"))
@example(Decimal("0.0000000015"))
@example(Decimal("0.00000000050000000001"))
@example(Decimal("-0.0000000015"))
@example(Decimal("1e-400"))
def test_more_decimals_are_rounded_half_even_and_counted(value: Decimal) -> None:
    """A tenth decimal rounds as decimal.Decimal does, and is counted each time it is seen."""
    prices = Prices()
    expected = value.quantize(STEP, ROUND_HALF_EVEN)
    assert read(prices[str(value)]) == expected
    assert read(prices[str(value)]) == expected
    assert prices.rounded == (0 if expected == value else 2)


@given(numbers)
def test_any_number_is_read_as_decimal_reads_it(text: str) -> None:
    """Whatever decimal.Decimal takes for a number is exact, rounded, or refused for its size."""
    value = Decimal(text)
    if abs(value) < 10**9 - 1:
        assert read(Prices()[text]) == value.quantize(STEP, ROUND_HALF_EVEN)
    elif abs(value) >= 10**9:
        with pytest.raises(ValueError, match=r"10\^9"):
            Prices()[text]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "+", "-", ".", "e5", ".e5", "1e", "1e+", "NaN", "nan", "inf", "-Infinity", "1_000", " 1.5",
        "1.5 ", "1.5\n", "1,5", "0x10", "--1", "1.2.3", "\u0661", "1\u066b5", "½", "²", "abc", "1.5USD",
        "\x00",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    """A text that is no decimal number raises ValueError."""
    with pytest.raises(ValueError, match="a decimal number"):
        Prices()[text]


@pytest.mark.parametrize("value", [True, False, 1.0, None])
def test_only_texts_and_integers_are_prices(value: object) -> None:
    """A value equal to a price seen before (True is 1) does not pass for it."""
    prices = Prices()
    assert (prices[1], prices[0], prices["1"]) != (b"", b"", b"")
    with pytest.raises(ValueError, match="a decimal number"):
        prices[value]  # type: ignore[index]  # the wrong type is the point


@pytest.mark.parametrize("value", ["1000000000", "-1000000000", "1e9", "999999999.9999999995", 10**9, -(10**9), 10**30])
def test_prices_of_a_billion_and_more_are_refused(value: str | int) -> None:
    """The limit is on the rounded value, and the message names it."""
    with pytest.raises(ValueError, match=r"below 10\^9"):
        Prices()[value]


def test_the_largest_price_is_taken() -> None:
    """Eighteen nines fit; a tenth decimal below one half rounds down to them."""
    assert read(Prices()["999999999.999999999"]) == Decimal("999999999.999999999")
    assert read(Prices()["999999999.9999999994"]) == Decimal("999999999.999999999")


@pytest.mark.parametrize(
    "text",
    ["1e999999999", "1e" + "9" * 5000, "9" * 100_000, "1" + "0" * 100_000 + "e-99", "0.1e1000000000000000"],
)
def test_huge_numbers_are_refused_at_once(text: str) -> None:
    """Neither an exponent nor a length makes the bridge build a huge integer."""
    with pytest.raises(ValueError, match=r"10\^9"):
        Prices()[text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-999999999", "0"),
        ("1e-" + "9" * 5000, "0"),
        ("0e" + "9" * 5000, "0"),
        ("1" + "0" * 100_000 + "e-100000", "1"),
        ("0." + "0" * 100_000 + "1e100001", "1"),
        ("0." + "3" * 100_000, "0.333333333"),
        ("0" * 100_000 + "7", "7"),
    ],
)
def test_long_numbers_of_moderate_value_are_read(text: str, value: str) -> None:
    """Length alone is no reason to refuse a number."""
    assert read(Prices()[text]) == Decimal(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_survive(value: int) -> None:
    """Every 64-bit integer is read from an int, from its digits, and from an integral decimal."""
    for written in (value, str(value), f"{value}.0", f"{value}.", f"{value}0e-1"):
        assert whole_number(written) == value


@pytest.mark.parametrize("value", ["100.0", "1e2", "+100", "1000e-1", "100.", "0100", "10.0e1"])
def test_integral_decimals_are_whole(value: str) -> None:
    """A hundred is a hundred in every notation."""
    assert whole_number(value) == 100


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0.5",
        "1e-1",
        "100.01",
        "x",
        "1_0",
        " 1",
        "\u0663",
        "1e999999999",
        str(2**63),
        2**63,
        -(2**63) - 1,
        "9" * 19,
    ],
)
def test_what_is_not_whole_or_too_large_is_refused(value: str | int) -> None:
    """A fraction, a non-number and more than 64 bits raise ValueError."""
    with pytest.raises(ValueError, match="whole number"):
        whole_number(value)


@pytest.mark.parametrize("value", [True, 1.0])
def test_only_texts_and_integers_are_whole_numbers(value: object) -> None:
    """A bool or float is no whole number."""
    with pytest.raises(ValueError, match="whole number"):
        whole_number(value)  # type: ignore[arg-type]  # the wrong type is the point


def test_the_feed_decoder_keeps_numbers_as_written() -> None:
    """The premise of all this: fractions, exponents and huge integers of JSON arrive as their text."""
    assert FEED.decode("[1.10, 1e2, 7]") == ["1.10", "1e2", 7]
    assert json.loads("1.10") == 1.1
