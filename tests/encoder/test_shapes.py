"""Shapes answer as the questions they stand for would be answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.events import Kind, Update
from bridge.encoder import Shapes
from bridge.records import FIELDS, SHARED_FIELDS, topics_of, unknown_fields
from bridge.topics import MARKET_DATA, Topic

NAMES = sorted({name for topic in MARKET_DATA for name in FIELDS[topic]} | {*SHARED_FIELDS, "symbol", "color", ""})
#: Serves all examples: what it learned from one must not mislead it about the next.
SHAPES = Shapes()


@given(
    st.sampled_from(Kind),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, "1"]), max_size=12),
    st.sampled_from([None, "1"]),
)
def test_shapes_answer_as_the_fields_do(kind: Kind, fields: dict[str, object], all_fields: object) -> None:
    """Whatever is null, now or when the same names came first, the answers are those of the fields themselves."""
    for values in (fields, dict.fromkeys(fields, all_fields), fields):
        update = Update(kind, "AAPL", values)
        shape = SHAPES.of(update)
        assert shape.topics == topics_of(update)
        assert shape.unknown == unknown_fields(update)


def test_nulls_are_seen_behind_a_shape_known_without_them() -> None:
    """A known shape whose telling field is null is looked at again."""
    shapes = Shapes()
    assert shapes.of(Update(Kind.COMPOSITE, "A", {"bidPrice": "1", "askPrice": "1"})).topics == (Topic.QUOTES,)
    assert shapes.of(Update(Kind.COMPOSITE, "A", {"bidPrice": None, "askPrice": "1"})).topics == (Topic.QUOTES,)
    assert shapes.of(Update(Kind.COMPOSITE, "A", {"bidPrice": None, "askPrice": None})).topics == ()


def test_a_known_shape_is_not_looked_at_again() -> None:
    """The same names give the same answer, not an equal one."""
    shapes = Shapes()
    updates = [Update(Kind.QUOTE, symbol, {"symbol": symbol, "bidPrice": "1"}) for symbol in ("AAPL", "MSFT")]
    assert shapes.of(updates[0]) is shapes.of(updates[1])


def test_what_is_remembered_is_bounded() -> None:
    """Neither many shapes nor a long one stay in memory, and both are answered."""
    shapes = Shapes()
    for number in range(3000):
        assert shapes.of(Update(Kind.QUOTE, "A", {"bidPrice": "1", f"x{number}": 1})).unknown == {f"x{number}"}
    assert len(shapes._of_kind[Kind.QUOTE]) <= 1024
    long = Update(Kind.TRADE, "A", {"price": "1", "x" * 5000: 1})
    wide = Update(Kind.TRADE, "A", {"price": "1", **dict.fromkeys(map(str, range(100)), "1")})
    assert shapes.of(long).topics == shapes.of(wide).topics == (Topic.TRADES,)
    assert not shapes._of_kind[Kind.TRADE]
