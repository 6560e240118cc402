"""Field layouts hold what ``record_topics`` and ``unknown_fields`` return."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.market_data import UpdateKind
from bridge.serialization import schemas
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.fast import FastSerializer, FieldLayoutCache
from bridge.serialization.field_mappings import FIELD_MAPPINGS, SHARED_FIELD_MAPPINGS
from bridge.serialization.records import record_topics, unknown_fields
from bridge.serialization.serializer import single_object_prefixes
from bridge.topics import MARKET_DATA, Topic

NAMES = sorted(
    {name for topic in MARKET_DATA for name in FIELD_MAPPINGS[topic]} | {*SHARED_FIELD_MAPPINGS, "symbol", "color", ""}
)
SCHEMAS = schemas.load()
FAST_SERIALIZER = FastSerializer(SCHEMAS, single_object_prefixes(SCHEMAS), DecimalEncoder())


@given(st.sampled_from(UpdateKind), st.lists(st.sampled_from(NAMES), max_size=12, unique=True))
def test_layouts_agree_with_the_reference_implementation(kind: UpdateKind, names: list[str]) -> None:
    """If no field is null, topics and unknown fields follow from the names, and each topic has an encoder."""
    layout = FieldLayoutCache(kind, FAST_SERIALIZER).new(tuple(names))
    assert layout.topics == record_topics(kind, names)
    assert layout.unknown == unknown_fields(kind, names)
    assert layout.encode.keys() == set(layout.topics)


def test_layouts_are_cached() -> None:
    """The layout of some names is in the cache afterwards."""
    layouts = FieldLayoutCache(UpdateKind.QUOTE, FAST_SERIALIZER)
    layout = layouts.new(("symbol", "bidPrice"))
    assert layouts.known["symbol", "bidPrice"] is layout


def test_the_cache_is_bounded() -> None:
    """Many layouts clear the cache, and a long one is not cached; both are returned."""
    layouts = FieldLayoutCache(UpdateKind.QUOTE, FAST_SERIALIZER)
    for number in range(3000):
        assert layouts.new(("bidPrice", f"x{number}")).unknown == {f"x{number}"}
    assert len(layouts.known) <= 1024
    trades = FieldLayoutCache(UpdateKind.TRADE, FAST_SERIALIZER)
    for names in (("price", "x" * 5000), ("price", *map(str, range(100)))):
        assert trades.new(names).topics == (Topic.TRADES,)
    assert not trades.known
