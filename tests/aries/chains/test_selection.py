"""The contracts of a chain: the nearest strikes, with hysteresis, in the wanted expirations, and never too many."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.chains.selection import MIN_CROSSED, Band, Selection, select
from bridge.aries.subscriptions.symbols import contract
from tests.aries.chains.listings import chain, contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.aries.subscriptions.chain import Chain

TODAY = date(2026, 12, 1)
SOON, LATER = date(2026, 12, 18), date(2027, 1, 15)
STRIKES = [float(strike) for strike in range(80, 121)]


def strikes_of(selection: Selection, right: str = "C") -> list[float]:
    """Return the selected strikes of one type, in ascending order."""
    found = [contract(symbol) for symbol in selection.symbols]
    return sorted(one.strike for one in found if one is not None and one.type.value[0].upper() == right)


def around(count: int, more: str = "") -> Chain:
    return chain(f'{{"underlying":"AAPL","expires_within_days":30,"strikes":{{"around":{count}}}{more}}}')


def nearest(strikes: Sequence[float], price: float, count: int) -> list[float]:
    """Return the reference: the nearest strikes below, the one at the price, and the nearest above."""
    below = [strike for strike in strikes if strike < price][-count:]
    above = [strike for strike in strikes if strike > price][:count]
    return [*below, *(strike for strike in strikes if strike == price), *above]


def test_nearest_strikes_on_each_side_of_the_price() -> None:
    """Calls and puts of the nearest strikes are selected, on each side as many as wanted."""
    selection = select(around(2), contracts([SOON], STRIKES), 100.4, TODAY)
    assert strikes_of(selection) == [99, 100, 101, 102]
    assert strikes_of(selection, "P") == [99, 100, 101, 102]


def test_one_type_only() -> None:
    """With a type only contracts of this type are selected."""
    selection = select(around(2, ',"types":"put"'), contracts([SOON], STRIKES), 100.4, TODAY)
    assert strikes_of(selection, "P") == [99, 100, 101, 102]
    assert not strikes_of(selection)


@pytest.mark.parametrize(
    ("strikes", "wanted"),
    [('{"from":99,"to":101}', [99, 100, 101]), ('{"from":118}', [118, 119, 120]), ('{"to":81.5}', [80, 81])],
)
def test_range_of_strikes(strikes: str, wanted: list[float]) -> None:
    """A range includes both ends, and needs no price."""
    entry = f'{{"underlying":"AAPL","expires_within_days":30,"strikes":{strikes}}}'
    selection = select(chain(entry), contracts([SOON], STRIKES), None, TODAY)
    assert strikes_of(selection) == wanted
    assert selection.band == Band()


def test_strikes_around_an_unknown_price() -> None:
    """Nothing can be selected until the price is known."""
    selection = select(around(2), contracts([SOON], STRIKES), None, TODAY)
    assert selection.needs_price
    assert not selection.symbols


def test_expirations_by_days() -> None:
    """Contracts are wanted from the day until which there are so many days, to the end of the day they expire on."""
    listed = contracts([SOON], [100], "C")
    wanted = chain('{"underlying":"AAPL","expires_within_days":10}')
    days = [SOON + timedelta(days=offset) for offset in range(-12, 3)]
    assert [bool(select(wanted, listed, None, day).symbols) for day in days] == [False] * 2 + [True] * 11 + [False] * 2


def test_listed_expirations() -> None:
    """Of explicit expirations those that have not passed are selected, and no others."""
    listed = contracts([TODAY - timedelta(days=1), SOON, LATER], [100], "C")
    wanted = chain('{"underlying":"AAPL","expirations":["2026-11-30","2027-01-15"]}')
    assert select(wanted, listed, None, TODAY).symbols == ("AAPL270115C00100000",)


def test_most_contracts() -> None:
    """Beyond the limit the nearest strikes are kept, and of these the soonest; the number of the others is known."""
    wanted = around(10, ',"max_contracts":6')
    selection = select(wanted, contracts([LATER - timedelta(days=20), SOON], STRIKES), 100.4, TODAY)
    assert selection.left_out == 2 * 20 * 2 - 6
    assert strikes_of(selection) == [100, 100, 101]
    assert sorted(symbol[4:10] for symbol in selection.symbols) == ["261218"] * 4 + ["261226"] * 2


def test_most_contracts_without_a_price() -> None:
    """Without a price those in the middle of the listed strikes are kept."""
    wanted = chain('{"underlying":"AAPL","expires_within_days":30,"max_contracts":3,"types":"call"}')
    assert strikes_of(select(wanted, contracts([SOON], STRIKES), None, TODAY)) == [99, 100, 101]


def test_a_price_beyond_all_strikes() -> None:
    """It selects the nearest ones that there are; the prices are known at which more will be listed."""
    selection = select(around(3), contracts([SOON], STRIKES), 130, TODAY)
    assert strikes_of(selection) == [118, 119, 120]
    assert 130 not in selection.listed
    assert 120 in selection.listed
    assert strikes_of(select(around(3), contracts([SOON], STRIKES), 70, TODAY)) == [80, 81, 82]


def test_the_price_swings_around_a_strike() -> None:
    """Then the selection stays as it is, with however few strikes."""
    listed = contracts([SOON], STRIKES)
    for count in (1, 2, 10):
        first = select(around(count), listed, 99.9, TODAY)
        for price in (100.1, 99.8, 100.9, 98.7):
            assert select(around(count), listed, price, TODAY, anchor=first.anchor) == first


def test_the_price_runs_away() -> None:
    """The strikes are selected again around it once more than half of a side is crossed."""
    listed = contracts([SOON], STRIKES)
    first = select(around(4), listed, 99.5, TODAY)
    assert select(around(4), listed, 101.5, TODAY, anchor=first.anchor) == first
    moved = select(around(4), listed, 102.5, TODAY, anchor=first.anchor)
    assert strikes_of(moved) == nearest(STRIKES, 102.5, 4)
    assert select(around(4), listed, 101.5, TODAY, anchor=moved.anchor) == moved


def test_the_price_is_gone() -> None:
    """An unknown price keeps the strikes that were selected before."""
    first = select(around(4), contracts([SOON], STRIKES), 99.5, TODAY)
    assert select(around(4), contracts([SOON], STRIKES), None, TODAY, anchor=99.5) == first


def test_a_limited_chain_follows_the_price() -> None:
    """The band of a chain that is cut to the nearest contracts is as narrow as what is left of it."""
    wanted = around(10, ',"max_contracts":8')
    listed = contracts([SOON], STRIKES)
    first = select(wanted, listed, 99.5, TODAY)
    assert strikes_of(first) == [98, 99, 100, 101]
    assert strikes_of(select(wanted, listed, 101.5, TODAY, anchor=first.anchor)) == [100, 101, 102, 103]


STRIKE_LISTS = st.lists(st.integers(1, 400), min_size=1, max_size=40, unique=True).map(
    lambda halves: [half / 2 for half in sorted(halves)]
)
PRICES = st.floats(0.01, 250)


@given(STRIKE_LISTS, PRICES, st.integers(1, 12))
def test_selected_strikes_are_the_nearest(strikes: list[float], price: float, count: int) -> None:
    """Whatever is listed: without an anchor exactly the nearest strikes on each side are selected."""
    selection = select(around(count), contracts([SOON], strikes), price, TODAY)
    assert strikes_of(selection) == nearest(strikes, price, count)
    assert price in selection.band


@given(STRIKE_LISTS, st.lists(PRICES, min_size=1, max_size=20), st.integers(1, 12))
def test_strikes_along_a_path_of_prices(strikes: list[float], path: list[float], count: int) -> None:
    """Whatever the price does: at most half of a side is missing, and what is selected was right at some price."""
    listed, anchor = contracts([SOON], strikes), None
    for price in path:
        selection = select(around(count), listed, price, TODAY, anchor=anchor)
        anchor = selection.anchor
        assert anchor is not None
        selected = set(strikes_of(selection))
        missing = max(MIN_CROSSED - 1, count // 2)
        assert set(nearest(strikes, price, count - missing) if count > missing else ()) <= selected
        assert sorted(selected) == nearest(strikes, anchor, count)


@given(
    st.lists(STRIKE_LISTS, min_size=1, max_size=4), st.one_of(st.none(), PRICES), st.integers(1, 60), st.integers(0, 90)
)
def test_bounds(listed: list[list[float]], price: float | None, most: int, days: int) -> None:
    """Whatever is listed: never too many contracts, none that is not wanted, and the count of the rest is right."""
    wanted = chain(f'{{"underlying":"AAPL","expires_within_days":{days},"max_contracts":{most}}}')
    found = [
        one
        for index, strikes in enumerate(listed)
        for one in contracts([TODAY + timedelta(days=20 * index - 10)], strikes)
    ]
    selection = select(wanted, found, price, TODAY)
    live = {one.symbol for one in found if 0 <= (one.expiration - TODAY).days <= days}
    assert set(selection.symbols) <= live
    assert len(selection.symbols) == min(most, len(live))
    assert selection.left_out == len(live) - len(selection.symbols)
