"""A library that repeats itself does not bury what others say."""

from __future__ import annotations

import logging

from bridge.observability.log_throttle import LogThrottle


def said(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, __file__, 1, message, arguments, None)


def test_the_same_message_passes_once_in_a_while() -> None:
    """Details do not make another message of it; other messages and other libraries are let through."""
    hush = LogThrottle("aiokafka", quiet_seconds=1000)
    assert hush.filter(said("aiokafka.producer", "node %s is away", 1))
    assert not hush.filter(said("aiokafka.producer", "node %s is away", 2))
    assert hush.filter(said("aiokafka.producer", "node %s is back", 1))
    assert hush.filter(said("aiokafka", "node %s is away", 1))
    assert hush.filter(said("bridge.aries.client", "lost"))
    assert hush.filter(said("bridge.aries.client", "lost"))


def test_it_passes_again_after_that_while() -> None:
    """What goes on is told again."""
    hush = LogThrottle("aiokafka", quiet_seconds=0)
    assert hush.filter(said("aiokafka", "away"))
    assert hush.filter(said("aiokafka", "away"))
