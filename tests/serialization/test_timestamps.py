"""Timestamps of the feed are converted to milliseconds, or rejected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.serialization.timestamps import epoch_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10), timezones=zones)  # noqa: DTZ001 - the zone follows


@given(times, st.sampled_from(["milliseconds", "microseconds", "seconds"]))
def test_iso_times_with_an_offset(time: datetime, spec: str) -> None:
    """Any precision and offset gives the exact millisecond, rounded down."""
    text = time.isoformat(timespec=spec)
    microseconds = {
        "seconds": 0,
        "milliseconds": time.microsecond // 1000 * 1000,
        "microseconds": time.microsecond,
    }
    exact = time.replace(microsecond=microseconds[spec]) - EPOCH
    assert epoch_ms(text) == exact // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2025-06-25T04:12:14.327-04:00", 1750839134327),
        ("2025-06-25T04:12:14.327999999-04:00", 1750839134327),
        ("2025-06-25T08:12:14.327Z", 1750839134327),
        ("2025-06-25T08:12:14Z", 1750839134000),
        ("2025-06-25T08:12:14+00:00", 1750839134000),
        ("2025-06-25T08:12:14.3Z", 1750839134300),
        ("2025-06-25 08:12:14.327+0000", 1750839134327),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2262-04-11T23:47:16.854Z", 9223372036854),
    ],
)
def test_iso_times_in_several_notations(text: str, milliseconds: int) -> None:
    """The documented notation, UTC, and other or no fractions are accepted; finer digits are cut off."""
    assert epoch_ms(text) == milliseconds


@given(st.integers(10**10, 9223372036854), st.integers(0, 999), st.integers(0, 999))
@example(9223372036854, 775, 807)
@example(10**10, 0, 0)
def test_the_magnitude_of_an_epoch_number_tells_its_unit(ms: int, us: int, ns: int) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds are distinguished, as numbers and as text."""
    micros = ms * 1000 + us
    nanos = min(micros * 1000 + ns, 2**63 - 1)
    for number in (ms, micros, nanos):
        assert epoch_ms(number) == ms
        assert epoch_ms(str(number)) == ms
    assert epoch_ms(ms // 1000) == ms // 1000 * 1000


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("1764239640123.4567", 1764239640123),
        ("1.764239640123E12", 1764239640123),
        ("1764239640.123", 1764239640123),
        ("1764239640.1239999", 1764239640123),
        ("1764239640123456.7", 1764239640123),
        ("1.764239640123456789e18", 1764239640123),
        ("1764239640.", 1764239640000),
        ("1.7642396e9", 1764239600000),
        ("1.7642396E+9", 1764239600000),
        ("0.001", 1),
    ],
)
def test_epoch_numbers_with_a_fraction_or_an_exponent(written: str, milliseconds: int) -> None:
    """The magnitude tells the unit here, too; what is finer than a millisecond is cut off."""
    assert epoch_ms(written) == milliseconds


@pytest.mark.parametrize("number", [1, 1701450000])
def test_small_epoch_numbers_are_seconds(number: int) -> None:
    """Numbers below 10^10 are seconds."""
    assert epoch_ms(number) == number * 1000


@pytest.mark.parametrize(
    "value",
    [
        "", "yesterday", "2025-06-25T04:12:14.327", "2025-06-25", "04:12:14Z", "2025-13-01T00:00:00Z",
        "2025-06-25T25:00:00Z", "2025-06-25T04:12:14.327 Z", " 1701450000123", "1_701_450_000_123", "-5",
        "0", "0.0", "0e5", "1e-3", "1e99", "1e999999999", ".5", "1.5.5", "NaN", "Infinity",
        "0000-00-00T00:00:00Z", "\u0661\u0667\u0660\u0661", "1" * 20, "1" * 100_000,
        "2025-06-25T04:12:14." + "1" * 100_000 + "Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z", "1." + "1" * 100,
        "1969-12-31T23:59:59.999Z", "2262-04-11T23:47:16.855Z", "9999-12-31T23:59:59-14:00",
        0, -1, 2**63 + 10**6, 9_999_999_999, 10**30, 1701450000.123, True, None, [], {},
    ],
)  # fmt: skip
def test_other_values_are_rejected(value: object) -> None:
    """Other texts and types, times without an offset, and times outside 1970 to 2262 raise ValueError."""
    with pytest.raises(ValueError, match="ISO-8601"):
        epoch_ms(value)
