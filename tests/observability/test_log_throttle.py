"""A library that repeats a message does not bury other log lines."""

from __future__ import annotations

import logging

from bridge.observability.log_throttle import LogThrottle


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, __file__, 1, message, arguments, None)


def test_a_message_passes_once_per_interval() -> None:
    """Other arguments do not make it another message; other messages and other loggers are let through."""
    throttle = LogThrottle("aiokafka", interval_seconds=1000)
    assert throttle.filter(record("aiokafka.producer", "node %s is down", 1))
    assert not throttle.filter(record("aiokafka.producer", "node %s is down", 2))
    assert throttle.filter(record("aiokafka.producer", "node %s is up", 1))
    assert throttle.filter(record("aiokafka", "node %s is down", 1))
    assert throttle.filter(record("bridge.aries.client", "lost"))
    assert throttle.filter(record("bridge.aries.client", "lost"))


def test_a_message_passes_again_after_the_interval() -> None:
    """A condition that lasts is logged again."""
    throttle = LogThrottle("aiokafka", interval_seconds=0)
    assert throttle.filter(record("aiokafka", "down"))
    assert throttle.filter(record("aiokafka", "down"))
