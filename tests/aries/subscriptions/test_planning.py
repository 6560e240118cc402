"""Planning subscriptions: symbols, types, events and fields, and the difference between two plans."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.subscriptions import ChangedSymbols, Plan, Subscription, difference, plan
from bridge.aries.subscriptions.parsing import FIELDS
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import SettingsError
from bridge.market_data import EventType

Q, T, TS, L2, G = EventType
DEFAULT_EVENTS = ("quotes", "trades", "l2", "timesales")
OPTION = "AAPL240119C00150000"


def problems(symbols: list[str], events: tuple[str, ...] = DEFAULT_EVENTS, described: object = None) -> tuple[str, ...]:
    """Return the problems of an invalid plan."""
    text = described if isinstance(described, str) or described is None else json.dumps(described)
    with pytest.raises(SettingsError) as caught:
        plan(symbols, events, text)
    return caught.value.problems


def test_each_type_gets_the_events_that_it_has() -> None:
    """Only options get greeks, indices get trades only, and the order is that of the list."""
    made = plan(["SPX", "AAPL", OPTION], (*DEFAULT_EVENTS, "greeks"))
    assert list(made) == ["SPX", "AAPL", OPTION]
    assert made["SPX"] == Subscription("SPX", SymbolType.INDEX, frozenset({T}))
    assert made["AAPL"] == Subscription("AAPL", SymbolType.EQUITY, frozenset({Q, T, L2, TS}))
    assert made[OPTION] == Subscription(OPTION, SymbolType.OPTION, frozenset({Q, T, L2, TS, G}))
    assert made.events == {Q, T, TS, L2, G}
    assert made.warnings == ()


def test_the_events_of_a_plan_are_those_of_its_symbols() -> None:
    """An event that no symbol of the plan has is not one of the plan's events."""
    assert plan(["AAPL"], ("quotes", "greeks")).events == {Q}


def test_a_type_can_be_set() -> None:
    """``SYM:type`` overrides the recognised type; surrounding white space is ignored."""
    made = plan(["SPX : equity", "FOO:option", "BAR:index", f"{OPTION}:equity"], (*DEFAULT_EVENTS, "greeks"))
    assert [one.type.value for one in made.values()] == ["equity", "option", "index", "equity"]
    assert G in made["FOO"].events
    assert G not in made[OPTION].events


def test_json_adds_to_and_overrides_the_list() -> None:
    """An entry replaces the listed symbol at its position; other entries follow at the end."""
    made = plan(
        ["AAPL", "MSFT"],
        DEFAULT_EVENTS,
        '[{"symbol":"TSLA"},"NVDA",{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}]',
    )
    assert list(made) == ["AAPL", "MSFT", "TSLA", "NVDA"]
    assert made["AAPL"].events == {Q, L2}
    assert made["AAPL"].fields == {Q: ("bidPrice", "askPrice")}
    assert made["TSLA"].events == made["MSFT"].events == made["NVDA"].events == {Q, T, L2, TS}


@pytest.mark.parametrize("symbol", ["BRK B", "BTC/USD", "X:BTCUSD", "C:EUR/USD", "ES 03-24", "I:A:B C"])
def test_json_names_symbols_that_a_list_cannot(symbol: str) -> None:
    """A symbol may have spaces, colons and slashes there, as an object or alone; a type after a colon is still one."""
    described = json.dumps([symbol, {"symbol": f"{symbol}.A", "events": ["trades"]}, "FOO:option"])
    made = plan([], DEFAULT_EVENTS, described)
    assert list(made) == [symbol, f"{symbol}.A", "FOO"]
    assert [one.type.value for one in made.values()] == ["equity", "equity", "option"]


def test_an_option_of_a_class_of_shares_is_an_option() -> None:
    """Its root has a dot or a slash."""
    made = plan(["BRK.B240119C00150000"], ("quotes", "greeks"), '["BF/B240119P00050000"]')
    assert [one.type for one in made.values()] == [SymbolType.OPTION] * 2
    assert made.events == {Q, G}


def test_json_inherits_the_type_of_the_list() -> None:
    """An entry without type keeps the type in the list; an entry with a type overrides it."""
    listed = ["FOO:option", "BAR:option"]
    made = plan(listed, DEFAULT_EVENTS, '[{"symbol":"FOO","events":["greeks"]},{"symbol":"BAR","type":"equity"}]')
    assert made["FOO"].type is SymbolType.OPTION
    assert made["BAR"].type is SymbolType.EQUITY


def test_a_star_selects_all_fields() -> None:
    """``*`` equals no selection; a single name needs no list; repeated names are removed."""
    entry = {"symbol": "AAPL", "fields": {"quotes": "*", "trades": ["*"], "timesales": "price"}}
    assert plan([], DEFAULT_EVENTS, json.dumps([entry]))["AAPL"].fields == {TS: ("price",)}
    entry = {"symbol": "AAPL", "fields": {"quotes": ["askPrice", "bidPrice", "askPrice"]}}
    assert plan([], DEFAULT_EVENTS, json.dumps([entry]))["AAPL"].fields == {Q: ("askPrice", "bidPrice")}


@pytest.mark.parametrize("topic", FIELDS)
def test_every_field_of_the_protocol_can_be_selected(topic: EventType) -> None:
    """All names in the protocol's field table are known."""
    names = sorted(FIELDS[topic])
    entry = {"symbol": OPTION, "events": [topic], "fields": {topic: names}}
    assert plan([], DEFAULT_EVENTS, json.dumps([entry]))[OPTION].fields == {topic: tuple(names)}


@pytest.mark.parametrize(
    ("symbols", "events", "described", "message"),
    [
        (["AAPL", "A B"], DEFAULT_EVENTS, None, "ARIES_SYMBOLS, item 2: 'A B' is not a symbol"),
        (["AAPL:stock"], DEFAULT_EVENTS, None, "ARIES_SYMBOLS, item 1: unknown type 'stock'"),
        (["AAPL:"], DEFAULT_EVENTS, None, "ARIES_SYMBOLS, item 1: unknown type ''"),
        (["AAPL", "AAPL:option"], DEFAULT_EVENTS, None, "item 2: AAPL contradicts ARIES_SYMBOLS, item 1"),
        (["AAPL241399C00150000"], DEFAULT_EVENTS, None, "241399 is not a date"),
        (["AAPL"], ("quote",), None, "ARIES_EVENTS: unknown event 'quote': did you mean quotes?"),
        (["AAPL"], ("market-status",), None, "Market status is always included"),
        (["AAPL"], (), None, "ARIES_EVENTS is an empty list"),
        (["AAPL"], ("greeks",), None, "AAPL is an equity, which has none of ARIES_EVENTS"),
        (["SPX"], ("quotes", "l2"), None, "SPX is an index, which has none of ARIES_EVENTS"),
        ([], DEFAULT_EVENTS, None, "no symbols: set ARIES_SYMBOLS"),
        ([], DEFAULT_EVENTS, "[]", "no symbols"),
        ([], DEFAULT_EVENTS, "{", "ARIES_SUBSCRIPTIONS is not JSON"),
        ([], DEFAULT_EVENTS, "[" * 100_000, "ARIES_SUBSCRIPTIONS is not JSON"),
        ([], DEFAULT_EVENTS, {"symbol": "AAPL"}, "must be a JSON list, not an object"),
        ([], DEFAULT_EVENTS, [1], "ARIES_SUBSCRIPTIONS, entry 1: must be an object with the key symbol, not a number"),
        ([], DEFAULT_EVENTS, ["AAPL", "A\tB"], "entry 2: 'A\\tB' is not a symbol"),
        ([], DEFAULT_EVENTS, ["AAPL", "AAPL:optoin"], "entry 2: unknown type 'optoin': did you mean option?"),
        ([], DEFAULT_EVENTS, ["AAPL:"], "entry 1: unknown type ''"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL  240119C00150000"}], "write the option as AAPL240119C00150000"),
        (["BRK.B  240119C00150000"], DEFAULT_EVENTS, None, "write the option as BRK.B240119C00150000"),
        (["O:AAPL240119C00150000"], DEFAULT_EVENTS, None, "has a prefix: write the option as AAPL240119C00150000"),
        ([], DEFAULT_EVENTS, ["O:SPXW240119P05000000"], "has a prefix: write the option as SPXW240119P05000000"),
        (["X:BTCUSD"], DEFAULT_EVENTS, None, "item 1: unknown type 'BTCUSD'"),
        ([], DEFAULT_EVENTS, [{"symbol": None}], "entry 1: symbol must be a string"),
        ([], DEFAULT_EVENTS, [{"events": ["quotes"]}], "entry 1: symbol must be a string"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "event": []}], "entry 1: unknown key 'event': did you mean events?"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "events": []}], "events must be a list like"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "events": "quotes"}], "events must be a list like"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "events": [{}]}], "unknown event {}"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "type": ["equity"]}], "unknown type ['equity']"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "events": ["greeks"]}], "AAPL is an equity, which has no greeks"),
        (
            [],
            DEFAULT_EVENTS,
            [{"symbol": "SPX", "events": ["l2", "quotes"]}],
            "SPX is an index, which has no l2 and quotes",
        ),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "fields": []}], "fields must be an object like"),
        (
            [],
            DEFAULT_EVENTS,
            [{"symbol": "AAPL", "fields": {"quotes": []}}],
            "fields of quotes must be a list of names",
        ),
        (
            [],
            DEFAULT_EVENTS,
            [{"symbol": "AAPL", "fields": {"quotes": [1]}}],
            "fields of quotes must be a list of names",
        ),
        (
            [],
            DEFAULT_EVENTS,
            [{"symbol": "AAPL", "fields": {"quotes": [["bidPrice"]]}}],
            "fields of quotes must be a list of names",
        ),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "fields": {"quotes": ["bidprice"]}}], "did you mean bidPrice?"),
        ([], DEFAULT_EVENTS, [{"symbol": "AAPL", "fields": {"l2": ["orderBook"]}}], "l2 has no fields to select"),
        ([], ("quotes",), [{"symbol": "AAPL", "fields": {"trades": ["price"]}}], "not among its events"),
        ([], DEFAULT_EVENTS, [{"symbol": "A"}, {"symbol": "A", "events": ["l2"]}], "entry 2: A contradicts"),
    ],
)
def test_each_problem_is_reported_with_its_place(
    symbols: list[str], events: tuple[str, ...], described: object, message: str
) -> None:
    """A problem has the setting and position, and a suggestion or the valid values."""
    found = problems(symbols, events, described)
    assert len(found) == 1
    assert message in found[0]


def test_all_problems_are_reported_at_once() -> None:
    """One error has the problems of symbols, events and entries."""
    found = problems(["A B", "C:d"], ("quote",), [{"symbol": "X  Y", "evnts": 1, "fields": {"quotes": ["z"]}}, 3])
    assert len(found) == 7


def test_problems_name_their_source() -> None:
    """Problems in the file are reported with the file's setting."""
    with pytest.raises(SettingsError, match="ARIES_SUBSCRIPTIONS_FILE, entry 1"):
        plan([], DEFAULT_EVENTS, "[3]", source="ARIES_SUBSCRIPTIONS_FILE")


def test_repeated_symbols_cause_a_warning() -> None:
    """A symbol that is repeated with the same meaning is subscribed once, and the warning names it."""
    made = plan(["AAPL", "MSFT", "AAPL:equity", "AAPL"], DEFAULT_EVENTS, '["TSLA","TSLA"]')
    assert list(made) == ["AAPL", "MSFT", "TSLA"]
    assert made.warnings == (
        "ARIES_SYMBOLS names more than once: AAPL. Once is enough.",
        "ARIES_SUBSCRIPTIONS names more than once: TSLA. Once is enough.",
    )


def test_lower_case_symbols_cause_a_warning() -> None:
    """Symbols with lower-case letters are subscribed unchanged, with a warning."""
    made = plan(["aapl", "MSFT"], DEFAULT_EVENTS)
    assert list(made) == ["aapl", "MSFT"]
    assert len(made.warnings) == 1
    assert "aapl" in made.warnings[0]
    assert "MSFT" not in made.warnings[0]


def test_five_thousand_symbols_can_be_planned() -> None:
    """5,000 repeated symbols make a plan of 5,000 in order, and a short warning."""
    names = [f"S{number}" for number in range(5000)]
    made = plan(
        [*names, *names], DEFAULT_EVENTS, json.dumps([{"symbol": name, "events": ["l2"]} for name in names[:100]])
    )
    assert list(made) == names
    assert made.events == {Q, T, L2, TS}
    assert len(made.warnings[0]) < 200
    assert "and 4990 more" in made.warnings[0]


def test_thousands_of_problems_are_abbreviated() -> None:
    """If every symbol of a long list is invalid, only the first problems are listed, the others counted."""
    found = problems([f"S {number}" for number in range(5000)])
    assert len(found) == 26
    assert "4975 more" in found[-1]


def test_equal_subscriptions_have_equal_hashes() -> None:
    """Subscriptions with the same content are equal, and can be in sets."""
    text = '[{"symbol":"AAPL","fields":{"quotes":["bidPrice"]}}]'
    one, other = (plan([], DEFAULT_EVENTS, text)["AAPL"] for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    assert plan(["AAPL"], DEFAULT_EVENTS) == plan(["AAPL", "AAPL"], DEFAULT_EVENTS)
    assert plan(["AAPL"], DEFAULT_EVENTS) != plan([], DEFAULT_EVENTS, text)


def test_the_difference_has_all_changes() -> None:
    """New and changed symbols are subscribed, removed events and removed symbols are unsubscribed."""
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


def test_the_changed_symbols_are_named() -> None:
    """Counts and the first of those that came, went, or are requested otherwise."""
    old = plan(["AAPL", "MSFT", *(f"S{number}" for number in range(20))], ("quotes",))
    new = plan(["AAPL", "NVDA"], ("quotes",), '[{"symbol":"MSFT","events":["trades"]}]')
    found = ChangedSymbols.between(old, new)
    assert found.added == ("NVDA",)
    assert found.changed == ("MSFT",)
    assert (len(found.removed), found.removed[:2]) == (20, ("S0", "S1"))
    assert str(found).startswith("1 added (NVDA), 20 removed (S0, S1, ")
    assert str(found).endswith("S9 and 10 more), 1 changed (MSFT)")
    assert str(ChangedSymbols.between(old, old)) == "nothing changed"
    assert not any(ChangedSymbols.between(old, old))


def test_a_fingerprint_stands_for_what_is_requested() -> None:
    """Symbols, types, events and fields count, their order does not."""
    first = plan(["AAPL", "MSFT"], ("quotes", "trades"))
    assert first.fingerprint == plan(["MSFT", "AAPL"], ("trades", "quotes")).fingerprint
    others = [
        plan(["AAPL"], ("quotes", "trades")),
        plan(["AAPL", "MSFT"], ("quotes",)),
        plan(["AAPL", "MSFT:option"], ("quotes", "trades")),
        plan(["AAPL", "MSFT"], ("quotes", "trades"), '[{"symbol":"MSFT","fields":{"quotes":["bidPrice"]}}]'),
        Plan(),
    ]
    assert len({one.fingerprint for one in (first, *others)}) == 6
    assert len(first.fingerprint) == 12


def test_no_difference_is_false() -> None:
    """The same plan in another order has no difference."""
    assert not difference(plan(["A", "B"], DEFAULT_EVENTS), plan(["B", "A"], DEFAULT_EVENTS))
    assert not difference(Plan(), Plan())


EVENT_SETS = st.frozensets(st.sampled_from(["quotes", "trades", "l2", "timesales"]), min_size=1)
PLANS = st.dictionaries(st.sampled_from("ABCDEF"), EVENT_SETS, min_size=1).map(
    lambda wanted: plan([], DEFAULT_EVENTS, json.dumps([{"symbol": s, "events": sorted(e)} for s, e in wanted.items()]))
)


@given(old=PLANS, new=PLANS)
def test_the_difference_leads_from_one_plan_to_the_other(old: Plan, new: Plan) -> None:
    """The difference results in the new plan, whether subscriptions add up or replace each other."""
    change = difference(old, new)
    adding = {symbol: set(one.events) for symbol, one in old.items()}
    for removed in (*change.removed_events, *change.unsubscribe):
        adding[removed.symbol] -= removed.events
    for wanted in change.subscribe:
        adding.setdefault(wanted.symbol, set()).update(wanted.events)
    replacing = {**old, **{one.symbol: one for one in change.subscribe}}
    for gone in change.unsubscribe:
        del replacing[gone.symbol]
    assert {symbol: events for symbol, events in adding.items() if events} == {s: o.events for s, o in new.items()}
    assert replacing == dict(new)
