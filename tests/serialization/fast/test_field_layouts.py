"""Shapes answer as the questions they stand for would be answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.market_data import Update, UpdateKind
from bridge.serialization import schemas
from bridge.serialization.decimals import Prices
from bridge.serialization.fast import FastSerializer, Shapes
from bridge.serialization.records import FIELDS, SHARED_FIELDS, topics_of, unknown_fields
from bridge.serialization.serializer import single_object_prefixes
from bridge.topics import MARKET_DATA, Topic

NAMES = sorted({name for topic in MARKET_DATA for name in FIELDS[topic]} | {*SHARED_FIELDS, "symbol", "color", ""})
SCHEMAS = schemas.load()
ENCODER = FastSerializer(SCHEMAS, single_object_prefixes(SCHEMAS), Prices())


@given(st.sampled_from(UpdateKind), st.lists(st.sampled_from(NAMES), max_size=12, unique=True))
def test_shapes_answer_as_the_fields_do(kind: UpdateKind, names: list[str]) -> None:
    """The names alone tell what an update says whose fields all have values, and there is a function for each topic."""
    update = Update(kind, "AAPL", dict.fromkeys(names, "1"))
    shape = Shapes(kind, ENCODER).new(tuple(names))
    assert shape.topics == topics_of(update)
    assert shape.unknown == unknown_fields(update)
    assert shape.encode.keys() == set(shape.topics)


def test_a_known_shape_is_not_looked_at_again() -> None:
    """What was found for some names is there the next time."""
    shapes = Shapes(UpdateKind.QUOTE, ENCODER)
    shape = shapes.new(("symbol", "bidPrice"))
    assert shapes.known["symbol", "bidPrice"] is shape


def test_what_is_remembered_is_bounded() -> None:
    """Neither many shapes nor a long one stay in memory, and both are answered."""
    shapes = Shapes(UpdateKind.QUOTE, ENCODER)
    for number in range(3000):
        assert shapes.new(("bidPrice", f"x{number}")).unknown == {f"x{number}"}
    assert len(shapes.known) <= 1024
    trades = Shapes(UpdateKind.TRADE, ENCODER)
    for names in (("price", "x" * 5000), ("price", *map(str, range(100)))):
        assert trades.new(names).topics == (Topic.TRADES,)
    assert not trades.known
