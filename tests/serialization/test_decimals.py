"""Prices and quantities are encoded exactly, or rounded and counted, or rejected."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal
from io import BytesIO

import fastavro
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.serialization.decimals import DecimalEncoder, whole_number

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
    """Return the decimal that fastavro reads from the bytes."""
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
def test_prices_are_exact_in_every_notation(value: Decimal) -> None:
    """A decimal with at most nine decimal places, below 10^9, is encoded exactly in every notation."""
    decimals = DecimalEncoder()
    for text in (str(value), f"{value:f}", f"{value:e}", f"{value.normalize()}", f"{value.normalize():f}"):
        assert read(decimals.price(text)) == value
    assert decimals.rounded == 0


@given(decimals)
def test_json_numbers_are_exact(value: Decimal) -> None:
    """A JSON number is encoded exactly after the JSON decoder that the bridge uses."""
    (number,) = FEED.decode(f"[{value:f}]")
    assert read(DecimalEncoder().price(number)) == value


@given(st.integers(-(10**9) + 1, 10**9 - 1))
def test_integers_are_exact(value: int) -> None:
    """A price may be an int."""
    assert read(DecimalEncoder().price(value)) == value


@given(decimals)
def test_bytes_are_as_short_as_possible(value: Decimal) -> None:
    """The bytes are those of Java's BigInteger.toByteArray: no unnecessary sign byte."""
    data = DecimalEncoder().price(f"{value:f}")
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
def test_more_decimal_places_are_rounded_half_even_and_counted(value: Decimal) -> None:
    """More decimal places are rounded as decimal.Decimal does, and counted each time."""
    decimals = DecimalEncoder()
    expected = value.quantize(STEP, ROUND_HALF_EVEN)
    assert read(decimals.price(str(value))) == expected
    assert read(decimals.price(str(value))) == expected
    assert decimals.rounded == (0 if expected == value else 2)


@given(numbers)
def test_any_number_is_read_as_decimal_reads_it(text: str) -> None:
    """Whatever decimal.Decimal accepts is encoded as the same number, rounded, or rejected for its size."""
    value = Decimal(text)
    if abs(value) < 10**9 - 1:
        assert read(DecimalEncoder().price(text)) == value.quantize(STEP, ROUND_HALF_EVEN)
    elif abs(value) >= 10**9:
        with pytest.raises(ValueError, match=r"10\^9"):
            DecimalEncoder().price(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "+", "-", ".", "e5", ".e5", "1e", "1e+", "NaN", "nan", "inf", "-Infinity", "1_000", " 1.5",
        "1.5 ", "1.5\n", "1,5", "0x10", "--1", "1.2.3", "\u0661", "1\u066b5", "½", "²", "abc", "1.5USD",
        "\x00",
    ],
)  # fmt: skip
def test_other_texts_are_rejected(text: str) -> None:
    """A text that is not a decimal number raises ValueError."""
    with pytest.raises(ValueError, match="a decimal number"):
        DecimalEncoder().price(text)


@pytest.mark.parametrize("value", [True, False, 1.0, None])
def test_only_texts_and_integers_are_prices(value: object) -> None:
    """Other types are rejected, even if they equal an int (True is 1)."""
    decimals = DecimalEncoder()
    assert (decimals.price(1), decimals.price(0), decimals.price("1")) != (b"", b"", b"")
    with pytest.raises(ValueError, match="a decimal number"):
        decimals.price(value)


@pytest.mark.parametrize("value", ["1000000000", "-1000000000", "1e9", "999999999.9999999995", 10**9, -(10**9), 10**30])
def test_prices_of_a_billion_and_more_are_rejected(value: str | int) -> None:
    """The limit applies to the rounded value, and the message names it."""
    with pytest.raises(ValueError, match=r"below 10\^9"):
        DecimalEncoder().price(value)


def test_the_largest_price() -> None:
    """Eighteen nines fit, and so does a longer price that is rounded to them."""
    assert read(DecimalEncoder().price("999999999.999999999")) == Decimal("999999999.999999999")
    assert read(DecimalEncoder().price("999999999.9999999994")) == Decimal("999999999.999999999")


@pytest.mark.parametrize(
    "text",
    ["1e999999999", "1e" + "9" * 5000, "9" * 100_000, "1" + "0" * 100_000 + "e-99", "0.1e1000000000000000"],
)
def test_huge_numbers_are_rejected_at_once(text: str) -> None:
    """Neither a large exponent nor many digits make the encoder build a huge integer."""
    with pytest.raises(ValueError, match=r"10\^9"):
        DecimalEncoder().price(text)


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
def test_long_numbers_of_moderate_value(text: str, value: str) -> None:
    """A number is not rejected for its length alone."""
    assert read(DecimalEncoder().price(text)) == Decimal(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers(value: int) -> None:
    """Every 64-bit integer is accepted as an int, as digits, and as a decimal number without a fraction."""
    for written in (value, str(value), f"{value}.0", f"{value}.", f"{value}0e-1"):
        assert whole_number(written) == value


@pytest.mark.parametrize("value", ["100.0", "1e2", "+100", "1000e-1", "100.", "0100", "10.0e1"])
def test_whole_numbers_in_other_notations(value: str) -> None:
    """Signs, exponents, leading zeros and zero fractions are accepted."""
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
def test_fractions_and_large_numbers_are_rejected(value: str | int) -> None:
    """Fractions, texts that are not numbers, and more than 64 bits raise ValueError."""
    with pytest.raises(ValueError, match="whole number"):
        whole_number(value)


@pytest.mark.parametrize("value", [True, 1.0])
def test_only_texts_and_integers_are_whole_numbers(value: object) -> None:
    """A bool or float raises ValueError."""
    with pytest.raises(ValueError, match="whole number"):
        whole_number(value)


def test_the_feed_decoder_keeps_numbers_as_written() -> None:
    """Numbers with a fraction or an exponent stay text, so that no digit is lost."""
    assert FEED.decode("[1.10, 1e2, 7]") == ["1.10", "1e2", 7]
    assert json.loads("1.10") == 1.1


@given(st.integers(0, LARGEST))
@example(83_000)
def test_quantities_are_exact(unscaled: int) -> None:
    """A quantity with at most six decimal places, below 10^12, is encoded exactly."""
    encoder = DecimalEncoder()
    quantity = Decimal(unscaled).scaleb(-6)
    for text in (str(quantity), f"{quantity:f}", f"{quantity:e}"):
        assert int.from_bytes(encoder.quantity(text), "big", signed=True) == unscaled
    assert encoder.quantity(unscaled // 10**6) == encoder.quantity(str(unscaled // 10**6))
    assert encoder.rounded == 0


def test_a_quantity_with_more_decimal_places_is_rounded_and_counted() -> None:
    """Rounding is half-even, and visible."""
    encoder = DecimalEncoder()
    assert encoder.quantity("0.0000005") == encoder.quantity("0")
    assert encoder.quantity("0.0000015") == encoder.quantity("0.000002")
    assert encoder.rounded == 2


@pytest.mark.parametrize("value", ["-0.5", -1, "1e12", 10**12, "x", "", True, 1.5, None])
def test_other_quantities_are_rejected(value: object) -> None:
    """A quantity is not negative and below 10^12; the message says so."""
    with pytest.raises(ValueError, match=r"0 or more and below 10\^12"):
        DecimalEncoder().quantity(value)
