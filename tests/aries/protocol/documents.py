"""JSON documents for property tests: arbitrary ones, and ones that are almost valid."""

from __future__ import annotations

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**70), 10**300])
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=10
)
#: Words of either dialect, in any place.
_WORDS = """
event update error authSuccess authRequired refreshAuth authExpired pong response request publish auth success
ping subscribe unsubscribe marketStatus quote trade level2 timeAndSales greeks equityComposite closed open AAPL
auth-001 auth-002 sub-002 sub-003
"""
_NAMES = """
type payload action id data symbol message error timestamp status expiresIn market afterHours bidPrice
lastPrice orderBook quotes delta tradeSeq price size
"""
WORDS = st.sampled_from(_WORDS.split())
_KEYS = st.sampled_from(_NAMES.split())
ALMOST_RIGHT = st.recursive(
    WORDS | SCALARS,
    lambda inner: st.dictionaries(_KEYS, inner, max_size=6) | st.lists(inner, max_size=2),
    max_leaves=12,
)
#: An update with anything in its places.
UPDATES = st.fixed_dictionaries(
    {
        "type": WORDS | ANY,
        "action": WORDS | ANY,
        "payload": st.fixed_dictionaries({"action": WORDS, "type": WORDS | ANY, "data": ALMOST_RIGHT}),
        "data": ALMOST_RIGHT,
    }
)
DOCUMENTS = ANY | ALMOST_RIGHT | UPDATES
