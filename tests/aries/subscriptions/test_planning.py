"""What to ask the feed for: symbols, types, events, fields, and the way from one plan to another."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.subscriptions import Plan, Subscription, difference, plan
from bridge.aries.subscriptions.parsing import FIELDS
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import SettingsError
from bridge.market_data import EventType

Q, T, TS, L2, G = EventType
USUAL = ("quotes", "trades", "l2", "timesales")
OPTION = "AAPL240119C00150000"


def problems(symbols: list[str], events: tuple[str, ...] = USUAL, described: object = None) -> tuple[str, ...]:
    """Return what is wrong."""
    text = described if isinstance(described, str) or described is None else json.dumps(described)
    with pytest.raises(SettingsError) as caught:
        plan(symbols, events, text)
    return caught.value.problems


def test_each_type_gets_the_events_it_can_have() -> None:
    """Greeks go to options only, indices get their trade fields, and the order is that of the list."""
    made = plan(["SPX", "AAPL", OPTION], (*USUAL, "greeks"))
    assert list(made) == ["SPX", "AAPL", OPTION]
    assert made["SPX"] == Subscription("SPX", SymbolType.INDEX, frozenset({T}))
    assert made["AAPL"] == Subscription("AAPL", SymbolType.EQUITY, frozenset({Q, T, L2, TS}))
    assert made[OPTION] == Subscription(OPTION, SymbolType.OPTION, frozenset({Q, T, L2, TS, G}))
    assert made.events == {Q, T, TS, L2, G}
    assert made.warnings == ()


def test_topics_are_those_in_use() -> None:
    """A topic that no symbol can have is not among the plan's topics."""
    assert plan(["AAPL"], ("quotes", "greeks")).events == {Q}


def test_a_type_can_be_said() -> None:
    """``SYM:type`` wins over the spelling, white space around it does not matter."""
    made = plan(["SPX : equity", "FOO:option", "BAR:index", f"{OPTION}:equity"], (*USUAL, "greeks"))
    assert [one.type.value for one in made.values()] == ["equity", "option", "index", "equity"]
    assert G in made["FOO"].events
    assert G not in made[OPTION].events


def test_json_adds_to_and_overrides_the_list() -> None:
    """An entry takes the place of the listed symbol and keeps its position; others come behind."""
    made = plan(
        ["AAPL", "MSFT"],
        USUAL,
        '[{"symbol":"TSLA"},"NVDA",{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}]',
    )
    assert list(made) == ["AAPL", "MSFT", "TSLA", "NVDA"]
    assert made["AAPL"].events == {Q, L2}
    assert made["AAPL"].fields == {Q: ("bidPrice", "askPrice")}
    assert made["TSLA"].events == made["MSFT"].events == made["NVDA"].events == {Q, T, L2, TS}


def test_json_inherits_the_type_of_the_list() -> None:
    """An entry that does not say a type leaves the one said in the list; one that does overrides it."""
    listed = ["FOO:option", "BAR:option"]
    made = plan(listed, USUAL, '[{"symbol":"FOO","events":["greeks"]},{"symbol":"BAR","type":"equity"}]')
    assert made["FOO"].type is SymbolType.OPTION
    assert made["BAR"].type is SymbolType.EQUITY


def test_a_star_is_all_fields() -> None:
    """``*`` is the same as naming no fields; a single name may stand without brackets; repeats are dropped."""
    entry = {"symbol": "AAPL", "fields": {"quotes": "*", "trades": ["*"], "timesales": "price"}}
    assert plan([], USUAL, json.dumps([entry]))["AAPL"].fields == {TS: ("price",)}
    entry = {"symbol": "AAPL", "fields": {"quotes": ["askPrice", "bidPrice", "askPrice"]}}
    assert plan([], USUAL, json.dumps([entry]))["AAPL"].fields == {Q: ("askPrice", "bidPrice")}


@pytest.mark.parametrize("topic", FIELDS)
def test_every_field_of_the_protocol_can_be_chosen(topic: EventType) -> None:
    """All names of the protocol's field table are known."""
    names = sorted(FIELDS[topic])
    entry = {"symbol": OPTION, "events": [topic], "fields": {topic: names}}
    assert plan([], USUAL, json.dumps([entry]))[OPTION].fields == {topic: tuple(names)}


@pytest.mark.parametrize(
    ("symbols", "events", "described", "said"),
    [
        (["AAPL", "A B"], USUAL, None, "ARIES_SYMBOLS, item 2: 'A B' is not a symbol"),
        (["AAPL:stock"], USUAL, None, "ARIES_SYMBOLS, item 1: unknown type 'stock'"),
        (["AAPL:"], USUAL, None, "ARIES_SYMBOLS, item 1: unknown type ''"),
        (["AAPL", "AAPL:option"], USUAL, None, "item 2: AAPL contradicts ARIES_SYMBOLS, item 1"),
        (["AAPL241399C00150000"], USUAL, None, "241399 is not a date"),
        (["AAPL"], ("quote",), None, "ARIES_EVENTS: unknown event 'quote': did you mean quotes?"),
        (["AAPL"], ("market-status",), None, "Market status is always included"),
        (["AAPL"], (), None, "ARIES_EVENTS is an empty list"),
        (["AAPL"], ("greeks",), None, "AAPL is an equity, which has none of ARIES_EVENTS"),
        (["SPX"], ("quotes", "l2"), None, "SPX is an index, which has none of ARIES_EVENTS"),
        ([], USUAL, None, "no symbols: set ARIES_SYMBOLS"),
        ([], USUAL, "[]", "no symbols"),
        ([], USUAL, "{", "ARIES_SUBSCRIPTIONS is not JSON"),
        ([], USUAL, "[" * 100_000, "ARIES_SUBSCRIPTIONS is not JSON"),
        ([], USUAL, {"symbol": "AAPL"}, "must be a JSON list, not an object"),
        ([], USUAL, [1], "ARIES_SUBSCRIPTIONS, entry 1: must be an object with the key symbol, not a number"),
        ([], USUAL, ["AAPL", "A B"], "entry 2: 'A B' is not a symbol"),
        ([], USUAL, [{"symbol": None}], "entry 1: symbol must be a string"),
        ([], USUAL, [{"events": ["quotes"]}], "entry 1: symbol must be a string"),
        ([], USUAL, [{"symbol": "AAPL", "event": []}], "entry 1: unknown key 'event': did you mean events?"),
        ([], USUAL, [{"symbol": "AAPL", "events": []}], "events must be a list like"),
        ([], USUAL, [{"symbol": "AAPL", "events": "quotes"}], "events must be a list like"),
        ([], USUAL, [{"symbol": "AAPL", "events": [{}]}], "unknown event {}"),
        ([], USUAL, [{"symbol": "AAPL", "type": ["equity"]}], "unknown type ['equity']"),
        ([], USUAL, [{"symbol": "AAPL", "events": ["greeks"]}], "AAPL is an equity, which has no greeks"),
        ([], USUAL, [{"symbol": "SPX", "events": ["l2", "quotes"]}], "SPX is an index, which has no l2 and quotes"),
        ([], USUAL, [{"symbol": "AAPL", "fields": []}], "fields must be an object like"),
        ([], USUAL, [{"symbol": "AAPL", "fields": {"quotes": []}}], "fields of quotes must be a list of names"),
        ([], USUAL, [{"symbol": "AAPL", "fields": {"quotes": [1]}}], "fields of quotes must be a list of names"),
        (
            [],
            USUAL,
            [{"symbol": "AAPL", "fields": {"quotes": [["bidPrice"]]}}],
            "fields of quotes must be a list of names",
        ),
        ([], USUAL, [{"symbol": "AAPL", "fields": {"quotes": ["bidprice"]}}], "did you mean bidPrice?"),
        ([], USUAL, [{"symbol": "AAPL", "fields": {"l2": ["orderBook"]}}], "l2 has no fields to select"),
        ([], ("quotes",), [{"symbol": "AAPL", "fields": {"trades": ["price"]}}], "not among its events"),
        ([], USUAL, [{"symbol": "A"}, {"symbol": "A", "events": ["l2"]}], "entry 2: A contradicts"),
    ],
)
def test_each_mistake_is_named_with_its_place(
    symbols: list[str], events: tuple[str, ...], described: object, said: str
) -> None:
    """A mistake is told by setting and position, with what was meant or is possible."""
    found = problems(symbols, events, described)
    assert len(found) == 1
    assert said in found[0]


def test_all_mistakes_are_told_at_once() -> None:
    """Mistakes in symbols, events and entries come in one error."""
    found = problems(["A B", "C:d"], ("quote",), [{"symbol": "X Y", "evnts": 1, "fields": {"quotes": ["z"]}}, 3])
    assert len(found) == 7


def test_a_source_is_called_by_its_name() -> None:
    """Problems of the file are told as the file's."""
    with pytest.raises(SettingsError, match="ARIES_SUBSCRIPTIONS_FILE, entry 1"):
        plan([], USUAL, "[3]", source="ARIES_SUBSCRIPTIONS_FILE")


def test_repeats_are_harmless_but_told() -> None:
    """A symbol named twice in the same sense is subscribed once, and the warning names it."""
    made = plan(["AAPL", "MSFT", "AAPL:equity", "AAPL"], USUAL, '["TSLA","TSLA"]')
    assert list(made) == ["AAPL", "MSFT", "TSLA"]
    assert made.warnings == (
        "ARIES_SYMBOLS names more than once: AAPL. Once is enough.",
        "ARIES_SUBSCRIPTIONS names more than once: TSLA. Once is enough.",
    )


def test_small_letters_are_kept_but_told() -> None:
    """A symbol is subscribed as it was typed, with a warning where it has small letters."""
    made = plan(["aapl", "MSFT"], USUAL)
    assert list(made) == ["aapl", "MSFT"]
    assert len(made.warnings) == 1
    assert "aapl" in made.warnings[0]
    assert "MSFT" not in made.warnings[0]


def test_five_thousand_symbols_are_fine() -> None:
    """A list of 5,000 makes a plan of 5,000 in order, repeats and all."""
    names = [f"S{number}" for number in range(5000)]
    made = plan([*names, *names], USUAL, json.dumps([{"symbol": name, "events": ["l2"]} for name in names[:100]]))
    assert list(made) == names
    assert made.events == {Q, T, L2, TS}
    assert len(made.warnings[0]) < 200
    assert "and 4990 more" in made.warnings[0]


def test_thousands_of_mistakes_are_counted_rather_than_listed() -> None:
    """The message stays readable where every symbol of a long list is wrong."""
    found = problems([f"S {number}" for number in range(5000)])
    assert len(found) == 26
    assert "4975 more" in found[-1]


def test_subscriptions_compare_and_hash() -> None:
    """Subscriptions of the same meaning are equal and can stand in sets."""
    text = '[{"symbol":"AAPL","fields":{"quotes":["bidPrice"]}}]'
    one, other = (plan([], USUAL, text)["AAPL"] for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    assert plan(["AAPL"], USUAL) == plan(["AAPL", "AAPL"], USUAL)
    assert plan(["AAPL"], USUAL) != plan([], USUAL, text)


def test_the_difference_names_what_changed() -> None:
    """New and changed symbols are subscribed whole, taken-away events are told apart, gone symbols are left."""
    old = plan(["SAME", "LESS", "GONE", "TYPE"], ("quotes", "trades"))
    new = plan(
        ["NEW", "SAME", "LESS", "TYPE:option"], ("quotes", "trades"), '[{"symbol":"LESS","events":["quotes","l2"]}]'
    )
    change = difference(old, new)
    assert [one.symbol for one in change.subscribe] == ["NEW", "LESS", "TYPE"]
    assert change.subscribe[1] == new["LESS"]
    assert change.removed_events == (
        Subscription("LESS", SymbolType.EQUITY, frozenset({T})),
        Subscription("TYPE", SymbolType.EQUITY, frozenset({Q, T})),
    )
    assert change.unsubscribe == (old["GONE"],)
    assert change


def test_no_difference_is_false() -> None:
    """The same plan in another order needs no request."""
    assert not difference(plan(["A", "B"], USUAL), plan(["B", "A"], USUAL))
    assert not difference(Plan(), Plan())


EVENT_SETS = st.frozensets(st.sampled_from(["quotes", "trades", "l2", "timesales"]), min_size=1)
PLANS = st.dictionaries(st.sampled_from("ABCDEF"), EVENT_SETS, min_size=1).map(
    lambda wanted: plan([], USUAL, json.dumps([{"symbol": s, "events": sorted(e)} for s, e in wanted.items()]))
)


@given(old=PLANS, new=PLANS)
def test_the_difference_leads_from_one_plan_to_the_other(old: Plan, new: Plan) -> None:
    """A feed where subscriptions add up, and one where they replace, both arrive at the new plan."""
    change = difference(old, new)
    adding = {symbol: set(one.events) for symbol, one in old.items()}
    for less in (*change.removed_events, *change.unsubscribe):
        adding[less.symbol] -= less.events
    for more in change.subscribe:
        adding.setdefault(more.symbol, set()).update(more.events)
    replacing = {**old, **{one.symbol: one for one in change.subscribe}}
    for gone in change.unsubscribe:
        del replacing[gone.symbol]
    assert {symbol: events for symbol, events in adding.items() if events} == {s: o.events for s, o in new.items()}
    assert replacing == dict(new)
