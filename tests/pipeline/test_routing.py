"""Sessions of some of the symbols: numbers begin again for these, and for no others."""

from __future__ import annotations

from bridge.kafka.partitioner import partition
from bridge.pipeline.accounts import Accounts
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.pipeline.routing import Router, SymbolStream
from bridge.topics import Topic, topic_names

TOPICS = (Topic.QUOTES,)


def router() -> Router:
    buffer = RecordBuffer(topic_names("t", {}), Accounts(), 1 << 20, partition=partition)
    buffer.open(dict.fromkeys(Topic, 1))
    return Router(buffer, dict.fromkeys(("A", "B", "C"), frozenset(TOPICS)), market_status=False)


def sent(of: Router, symbol: str) -> SymbolStream:
    """Return the stream of a symbol after one record."""
    [stream] = of.route(TOPICS, symbol)
    stream.seq += 1
    stream.after_gap = False
    return stream


def test_a_session_of_one_shard_leaves_the_others_as_they_are() -> None:
    """Streams of the shard begin again in the new session; those of others go on, remembered routes, too."""
    of = router()
    of.start_session(100)
    a, b = sent(of, "A"), sent(of, "B")
    of.start_session(200, "A".__eq__)
    assert of.routes[TOPICS] == {}
    [again] = of.route(TOPICS, "A")
    assert again is not a
    assert (again.session_id, again.seq, again.after_gap) == (200, 0, True)
    [same] = of.route(TOPICS, "B")
    assert same is b
    assert (same.session_id, same.seq, same.after_gap) == (100, 1, False)
    [new] = of.route(TOPICS, "C")
    assert new.session_id == 100


def test_the_newest_session_of_a_symbol_counts() -> None:
    """A shard may be gained, lost and gained again on one socket."""
    of = router()
    of.start_session(100)
    of.start_session(200, "A".__eq__)
    of.start_session(300, "A".__eq__)
    assert sent(of, "A").session_id == 300


def test_a_new_connection_is_a_session_of_all() -> None:
    """After an authentication all shards have the same session."""
    of = router()
    of.start_session(100)
    of.start_session(200, "A".__eq__)
    of.start_session(300)
    assert [sent(of, symbol).session_id for symbol in "ABC"] == [300, 300, 300]


def test_a_symbol_whose_shard_comes_back_is_after_a_gap() -> None:
    """It was not wanted meanwhile: a late record of it is filtered, and the next one says that some are missing."""
    of = router()
    of.start_session(100)
    sent(of, "A")
    of.set_wanted({"B": frozenset(TOPICS)})
    assert of.route(TOPICS, "A") == ()
    of.set_wanted(dict.fromkeys(("A", "B"), frozenset(TOPICS)))
    [stream] = of.route(TOPICS, "A")
    assert (stream.seq, stream.after_gap) == (1, True)


def test_the_market_status_follows_its_shard() -> None:
    """It is published by the owner of one of the shards alone."""
    of = router()
    of.start_session(100)
    assert of.route((Topic.MARKET_STATUS,), "market") == ()
    of.set_market_status(wanted=True)
    assert [stream.topic for stream in of.route((Topic.MARKET_STATUS,), "market")] == [Topic.MARKET_STATUS]
    of.set_market_status(wanted=False)
    assert of.route((Topic.MARKET_STATUS,), "market") == ()
