"""Lines of every notation, usual and odd, as Hypothesis draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from bridge.market_data import FIELDS, MARKET_STATUS_FIELDS, EventType
from tests.pipeline.compiled.ways import SYMBOLS

if TYPE_CHECKING:
    from tests.pipeline.compiled.ways import DialectName

#: The names of the types of updates; the last of each is none.
TYPES: Final[dict[DialectName, tuple[str, ...]]] = {
    "envelope": ("quote", "trade", "level2", "timeAndSales", "greeks", "marketStatus", "cancelTrade"),
    "action": ("equityComposite", "optionComposite", "timeAndSales", "level2", "greeks", "marketStatus", "candle"),
}
NAMES: Final = tuple(dict.fromkeys([*(name for event in EventType for name in FIELDS[event]), "instrumentType"]))
_FLAT: Final = tuple(name for name in NAMES if name not in FIELDS[EventType.L2])
#: The fields that updates of a type must have, and may have; all others are composites of quotes, trades and greeks.
_FIELDS_OF: Final = {
    "timeAndSales": (("price",), tuple(name for name in FIELDS[EventType.TIMESALES] if name != "price")),
    "level2": ((), FIELDS[EventType.L2]),
    "greeks": ((), FIELDS[EventType.GREEKS]),
}
_USUAL_NAMES: Final = st.sampled_from(NAMES)
_ODD_NAMES: Final = st.sampled_from(
    [*MARKET_STATUS_FIELDS, "symbol", "isCancel", "status", "venue", "bid\\u0050rice", ""]
)

_INTEGERS: Final = (
    "0",
    "1",
    "200",
    "-1",
    "-300",
    "1750858200000",
    "1750858200",
    "17508582000001234",
    "999999999999999999",
)
_DECIMALS: Final = (
    "1.5",
    "146.84",
    "0.01",
    "-0.03",
    "100.0",
    "0.000000001",
    "123456789.123456789",
    "-2.60",
    "0.0",
    "-0.0",
    "-0.000000128",
    "-0.032768",
)
_ODD_NUMBERS: Final = (
    *("-0", "007", "1e5", "1E-7", "1.5e3", "5.", ".5", "-", "--1", "1.2.3", "0.1234567891", "1234567890.1", "1e400"),
    *(
        "1234567890123456789",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999",
        "0.12345678901234567",
    ),
    *("1000000000", "999999999.9999999999", "-1.0", "0.30000000000000004", "NaN", "Infinity", "1 2", "+5"),
)
_TIMES: Final = (
    *("2025-06-25T04:12:14.327-04:00", "2024-02-29T23:59:59Z", "2025-12-31T00:00:00.123456+05:30"),
    *("2025-06-25T04:12:14.123456789Z", "2025-02-29T00:00:00Z", "2025-06-25T24:00:00Z", "2025-06-25T04:12:14.3Z"),
    *("2025-06-25 04:12:14Z", "2025-06-25T04:12:14.327", "1970-01-01T00:00:00.000Z", "1969-12-31T23:59:59Z"),
    *(
        "1970-01-01T00:00:00.001+23:59",
        "2262-04-11T23:47:16.854Z",
        "2262-04-11T23:47:16.855Z",
        "2025-06-25T04:12-04:00",
    ),
    *("2025-06-25T04:12:60Z", "2025-06-25T04:12:14+24:00", "2025-06-25T04:12:14.327-04:60", "20250625T041214Z"),
    *("2100-02-29T00:00:00Z", "2000-02-29T12:00:00.000-00:00", "2025-13-01T00:00:00Z", "2025-6-25T04:12:14Z"),
)
_TEXTS: Final = (
    "NYSE",
    "up",
    "-",
    "",
    "N/A",
    "n/a",
    "NaN",
    "NULL",
    "null",
    "e",
    "\\u0041",
    'a\\"b',
    "é",
    "\x7f",
    "a\tb",
    " 5",
)
_ROW_TEXTS: Final = (
    "",
    "0",
    "100",
    "146.93",
    "NSDQ",
    "1e3",
    "-5",
    "x",
    "n/a",
    "0.1234567891",
    "12345678901234567890",
    ".5",
    "7.",
)
_ODD_JSON: Final = ("true", "false", "{}", "[1]", '{"a":[1,{}]}', "nul", "", '"', "[", '"\\ud800"')
_ODD_VALUES: Final = st.sampled_from(_ODD_JSON)
_PLAIN: Final = (*_INTEGERS, *_DECIMALS, *_ODD_NUMBERS)
#: Values of all kinds, and lists of rows with each text in each column.
VALUES: Final = (*_PLAIN, *(f'"{text}"' for text in (*_PLAIN, *_TIMES, *_TEXTS)), *_ODD_JSON, "null")


def _quoted(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return texts.map(lambda text: f'"{text}"')


_USUAL_VALUES: Final = (
    st.sampled_from(_INTEGERS)
    | st.sampled_from(_DECIMALS)
    | _quoted(st.sampled_from((*_INTEGERS, *_DECIMALS)))
    | _quoted(st.sampled_from(_TIMES))
    | _quoted(st.sampled_from(_TEXTS))
    | st.just("null")
    | st.integers(-(10**18), 10**18).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | _quoted(st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat(timespec="milliseconds")))
)
_VALUES: Final = _USUAL_VALUES | st.sampled_from(_ODD_NUMBERS) | _quoted(st.sampled_from(_ODD_NUMBERS)) | _ODD_VALUES
_ROWS: Final = st.lists(
    _quoted(st.lists(st.sampled_from(_ROW_TEXTS), min_size=2, max_size=6).map(":".join))
    | _quoted(
        st.sampled_from(["800:146.93:0", ":146.75:1100", "0:0.3:", "NSDQ:146.86:2000:146.76:1200", "IEXG:0.3:1::"])
    )
    | st.sampled_from(["5", "null", '"a\\nb:1:2"']),
    max_size=4,
).map(lambda rows: f"[{','.join(rows)}]")
ROWS: Final = (
    *(f'["800:{text}:0"]' for text in _ROW_TEXTS),
    *(f'["{text}:146.93:{text}"]' for text in _ROW_TEXTS),
    *(f'["{text}:1:2:3:4"]' for text in _ROW_TEXTS),
    *(f'["NSDQ:{text}:2:{text}:4"]' for text in _ROW_TEXTS),
    *(f'["NSDQ:1:{text}:3:{text}"]' for text in _ROW_TEXTS),
    *(
        "[]",
        "[ ]",
        '["1:2:3","1:2:3"]',
        '["1:2:3" , "1:2"]',
        '["1:2:3",]',
        '["1:2:3"',
        '["1:2:3"}',
        "[[]]",
        "[null]",
        "[1]",
    ),
    *('[""]', '[":::"]', '["1:2:3:"]', '["a\\u003a1:2"]', '["1:2:3\n"]', '["1 :2:3"]'),
)
_GOOD_ROWS: Final = {
    "orderBook": '["800:146.93:0",":146.75:1100","0:146.7:","1:2:3"]',
    "quotes": '["NSDQ:146.86:2000:146.76:1200","IEXG:0.3934:2000::","A::::"]',
}
_GOOD_VALUES: Final = {
    **dict.fromkeys(("bidExchange", "askExchange", "tradeExchange", "tick", "instrumentType"), '"NYSE"'),
    **dict.fromkeys(("quoteTimestamp", "tradeTimestamp"), '"2025-06-25T04:12:14.327-04:00"'),
    **_GOOD_ROWS,
}
_BLANKS: Final = st.sampled_from(["", "", "", "", " ", "\t", "\r", "  "])
_SYMBOLS: Final = st.sampled_from(
    [f'"{symbol}"' for symbol in SYMBOLS] * 3 + ['"X"', '"é"', '""', "700", "null", '"\\u0041"']
)


@st.composite
def _object(draw: st.DrawFn, members: list[tuple[str, str]]) -> str:
    """Write an object, with blanks here and there."""
    blank = draw(_BLANKS)
    body = f"{blank},{blank}".join(f'"{name}"{blank}:{blank}{value}' for name, value in members)
    return f"{{{blank}{body}{blank}}}"


@st.composite
def _usual_fields(draw: st.DrawFn, wire_type: str) -> str:
    """Write the fields that an update of this type may have, in any order."""
    required, names = _FIELDS_OF.get(wire_type, ((), _FLAT))
    chosen = draw(st.permutations([*required, *draw(st.lists(st.sampled_from(names), max_size=8, unique=True))]))
    values = {name: _GOOD_VALUES.get(name, "1") for name in ("symbol", *chosen)}
    for name in draw(st.lists(st.sampled_from(chosen), max_size=2)) if chosen else ():
        values[name] = "null" if name not in required else values[name]
    values["symbol"] = draw(st.sampled_from(['"A"', '"B"', '"C"', '"D"']))
    return draw(_object([*values.items()]))


@st.composite
def _odd_fields(draw: st.DrawFn) -> str:
    """Write fields of any names and values."""
    names = draw(st.lists(_USUAL_NAMES | _ODD_NAMES, max_size=8))
    members = [(name, draw((_ROWS | _VALUES) if name in _GOOD_ROWS else _VALUES)) for name in names]
    members.insert(draw(st.integers(0, len(members))), ("symbol", draw(_SYMBOLS)))
    return draw(_object(members))


@st.composite
def lines(draw: st.DrawFn, dialect: DialectName, *, odd: bool = True) -> bytes:
    """Draw a line of an update; if it is not odd, of usual values."""
    wire_type = draw(st.sampled_from(TYPES[dialect][: None if odd else 5]))
    members = [("type", f'"{wire_type}"')]
    action = '"update"'
    if odd:
        action = draw(st.sampled_from(['"update"'] * 9 + ['"publish"', "null", '"ping"', "1"]))
    if dialect == "envelope" or draw(st.booleans()):
        members.insert(0, ("action", action))
    members.append(("data", draw(_odd_fields() if odd else _usual_fields(wire_type))))
    if draw(st.booleans()):
        members.append(("timestamp", draw(_VALUES) if odd and draw(st.booleans()) else "1750858200000"))
    if odd and draw(st.integers(0, 9)) == 0:
        members = draw(st.permutations(members))
    if odd and draw(st.integers(0, 9)) == 0:
        members.append(draw(st.sampled_from([("id", "5"), ("symbol", '"A"'), ("type", '"quote"'), ("data", "{}")])))
    text = draw(_object(members))
    if dialect == "envelope":
        event = '"event"' if not odd else draw(st.sampled_from(['"event"'] * 9 + ['"ping"', "null"]))
        text = draw(_object([("type", event), ("payload", text)]))
    return draw(_BLANKS).encode() + text.encode() + draw(_BLANKS).encode()


#: Lines that are no updates, of either dialect.
OTHER_LINES: Final = st.sampled_from(
    [
        *(
            b"",
            b" ",
            b"\r",
            b"\x0b",
            b"ping",
            b"{}",
            b"null",
            b"[]",
            b"5",
            b"\xff\xfe",
            b"\x00",
            b"nonsense",
            b"{",
            b'{"a"',
        ),
        *(b'{"type":"pong"}', b'{"action":"ping","message":"pong"}', b'{"type":"ping","id":7}'),
        b'{"type":"event","payload":{"action":"authExpired"}}',
        b'{"type":"event","payload":{"action":"authSuccess"}}',
        b'{"type":"event","payload":{"action":"update","type":"marketStatus","data":{"market":"closed","afterHours":false}}}',
        b'{"action":"publish","type":"marketStatus","data":{"market":"open","afterHours":false}}',
        b'[{"type":"level2","data":{"symbol":"A","orderBook":["1:2:3"]}},{"type":"pong"}]',
        b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"A","bidPrice":1}}}trailing',
    ]
)


@st.composite
def _damaged(draw: st.DrawFn, dialect: DialectName) -> bytes:
    """Draw a usual line in which a few bytes are others, missing, or too many."""
    line = bytearray(draw(lines(dialect, odd=False)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(line) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                line[place] = draw(st.integers(0, 255))
            case 1:
                del line[place]
            case 2:
                line[place:place] = draw(
                    st.sampled_from([b'"', b"\\", b",", b"{", b"}", b":", b"0", b"-", b".", b"\n", b"\0"])
                )
            case _:
                del line[place:]
        if not line:
            break
    return bytes(line)


def frames(dialect: DialectName) -> st.SearchStrategy[list[bytes]]:
    """Draw the frames of a connection: usual lines, odd ones, damaged ones, and others."""
    line = lines(dialect, odd=False) | lines(dialect) | _damaged(dialect) | OTHER_LINES
    return st.lists(st.lists(line, max_size=4).map(b"\n".join), min_size=1, max_size=4)
