"""The library knows which states are out of date, whatever bridges that hand shards to each other do."""

from __future__ import annotations

from hypothesis import given, settings

from bridge.consumer import MarketView, Missed
from bridge.topics import Topic
from tests.verify.group_play import CLOCKS, STEPS, Play, Step
from tests.verify.shard_group import SYMBOLS


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, clocks=CLOCKS)
def test_states_are_stale_unless_they_are_of_the_owner(steps: list[Step], clocks: list[int]) -> None:
    """A state is of the newest session that published the symbol, and stale if that is not the owner's session."""
    play, view, read = Play(clocks), MarketView(), 0
    for kind, shard, to, is_late in steps:
        play.step(kind, shard, to, is_late=is_late)
        for topic, record in play.group.written[read:]:
            events = view.take(topic, record, 0)
            assert not any(isinstance(event, Missed) for event in events)
        read = len(play.group.written)
        for number, symbols in SYMBOLS.items():
            session = play.group.owner(number).sessions[number]
            for state in filter(None, (view.state(Topic.TRADES, symbol) for symbol in symbols)):
                assert view.is_stale(state) == (state.session_id != session)
    assert view.outdated == play.late
    assert view.repeats == 0
