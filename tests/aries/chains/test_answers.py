"""The shapes of answers: what is documented is read, odd entries are counted, and anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.chains.answers import BadAnswer, contracts_page, snapshot_page, snapshot_path

PATH = snapshot_path("AAPL")
CALL, PUT = "AAPL260410C00110000", "AAPL260410P00110000"


def page(*results: object, **more: object) -> bytes:
    return json.dumps({"requestId": "1", "results": results, **more}).encode()


def result(ticker: object, **more: object) -> dict[str, object]:
    return {"details": {"ticker": ticker}, **more}


def test_example_of_the_vendor() -> None:
    """The example is read, and of the next page's URL only path and query."""
    found = snapshot_page(
        b'{"nextUrl":"http://localhost:8087/v1/options/snapshot/chain/AAPL?cursor=YXA9","requestId":"x","results":[{"day":'
        b'{"close":147.62},"details":{"contractType":"call","exerciseStyle":"american","expirationDate":"2026-04-10",'
        b'"strikePrice":110,"ticker":"O:AAPL260410C00110000"},"underlyingAsset":{"ticker":"AAPL","price":257.6}}]}',
        PATH,
    )
    assert [contract.symbol for contract in found.contracts] == [CALL]
    assert found.next_path == "/v1/options/snapshot/chain/AAPL?cursor=YXA9"
    assert found.price == 257.6


@pytest.mark.parametrize("missing", [{}, {"nextUrl": None}, {"nextUrl": ""}])
def test_last_page(missing: dict[str, object]) -> None:
    """Without a next URL the chain is complete."""
    assert snapshot_page(page(result(f"O:{CALL}"), **missing), PATH).next_path is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api.aries.com/v1/x?a=1", "/v1/x?a=1"),
        ("//elsewhere.example/v1/x", "/v1/x"),
        ("/v1/x?a=1", "/v1/x?a=1"),
        ("?cursor=2", f"{PATH}?cursor=2"),
        ("https://user:secret@elsewhere.example/v1/x#y", "/v1/x"),
    ],
)
def test_next_page(url: str, path: str) -> None:
    """Whatever host the next URL names, only its path and query are used."""
    assert snapshot_page(page(result(CALL), nextUrl=url), PATH).next_path == path


@pytest.mark.parametrize(
    "url", [5, "@elsewhere.example", "https://elsewhere.example", "/a b", "/x\r\nHost: y", "http://["]
)
def test_next_page_that_is_no_url(url: object) -> None:
    """Anything else is an error: without the other pages the chain would be cut."""
    with pytest.raises(BadAnswer, match="nextUrl"):
        snapshot_page(page(result(CALL), nextUrl=url), PATH)


def test_odd_entries() -> None:
    """Entries without the symbol of an option are counted; the others are read."""
    found = snapshot_page(page(result(CALL), result(None), {"details": None}, 5, result("O:AAPL")), PATH)
    assert ([contract.symbol for contract in found.contracts], found.unreadable) == ([CALL], 4)


@pytest.mark.parametrize(
    ("asset", "price"),
    [
        ({"price": "257.6"}, 257.6),
        ({"value": 5000}, 5000),
        ({"price": 0}, None),
        ({"price": "N/A"}, None),
        (None, None),
    ],
)
def test_prices(asset: object, price: float | None) -> None:
    """The price may be a number or a string, and there may be none."""
    assert snapshot_page(page(result(CALL, underlyingAsset=asset)), PATH).price == price


@pytest.mark.parametrize(
    "document",
    [
        {"calls": [{"symbol": f"O:{CALL}", "strikePrice": 110}], "puts": [{"symbol": f"O:{PUT}", "strikePrice": 110}]},
        {"contracts": [{"ticker": f"O:{CALL}", "strike": 110, "type": "call"}, {"ticker": f"O:{PUT}"}]},
    ],
)
def test_contracts_of_an_expiration(document: dict[str, object]) -> None:
    """Both versions of the answer are read."""
    assert [contract.symbol for contract in contracts_page(json.dumps(document).encode()).contracts] == [CALL, PUT]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"results":{}}', b'{"results":[{"details":', b"\xff", page(result("AAPL"))],
)
def test_other_answers(body: bytes) -> None:
    """HTML, half a page, other JSON and entries that are no options are refused."""
    for parse in (lambda body: snapshot_page(body, PATH), contracts_page):
        with pytest.raises(BadAnswer):
            parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda child: (
            st.lists(child)
            | st.dictionaries(
                st.sampled_from(
                    ["results", "details", "ticker", "nextUrl", "underlyingAsset", "price", "calls", "puts", "x"]
                ),
                child,
            )
        ),
    )
)
def test_any_json(document: object) -> None:
    """Whatever JSON comes is read or refused, and nothing else."""
    body = json.dumps(document).encode()
    for parse in (lambda body: snapshot_page(body, PATH), contracts_page):
        try:
            found = parse(body)
        except BadAnswer:
            continue
        assert found.next_path is None or found.next_path.startswith("/")
