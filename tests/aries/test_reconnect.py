"""Delays before a reconnect, by cause."""

from __future__ import annotations

import random

import pytest

from bridge.aries.reconnect import MAX_RETRY_AFTER_SECONDS, SLOW, ReconnectPolicy
from bridge.errors import ConnectionLost, CredentialsRefused, DisconnectCause, HandshakeRefused
from tests.test_backoff import Highest

HOUR_SECONDS = 3600.0


def reconnect_policy(*, token_can_change: bool = True, rng: random.Random | None = None) -> ReconnectPolicy:
    """Return a reconnect policy that draws the longest delays by default."""
    return ReconnectPolicy(0.5, 30.0, token_can_change=token_can_change, rng=rng or Highest())


def lost(cause: DisconnectCause, retry_after_seconds: float | None = None) -> ConnectionLost:
    return ConnectionLost(cause, "because", retry_after_seconds=retry_after_seconds)


def delays(subject: ReconnectPolicy, cause: DisconnectCause, count: int) -> list[float]:
    return [subject.delay_seconds(lost(cause)) for _ in range(count)]


@pytest.mark.parametrize("cause", sorted(set(DisconnectCause) - SLOW - {DisconnectCause.STALE}))
def test_most_causes_wait_up_to_the_longest_delay(cause: DisconnectCause) -> None:
    """The ceiling doubles from the shortest delay to the longest."""
    assert delays(reconnect_policy(), cause, 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_silence_is_no_reason_to_wait() -> None:
    """The server answered all the time, and the patience with its silence grows elsewhere."""
    subject = reconnect_policy()
    delays(subject, DisconnectCause.NETWORK, 5)
    assert delays(subject, DisconnectCause.STALE, 3) == [0.5, 0.5, 0.5]
    assert subject.delay_seconds(lost(DisconnectCause.NETWORK)) == 1


@pytest.mark.parametrize(
    "cause",
    [
        *(DisconnectCause.EVICTED, DisconnectCause.CONNECTION_LIMIT, DisconnectCause.THROTTLED),
        *(DisconnectCause.MAINTENANCE, DisconnectCause.TOO_BIG),
    ],
)
def test_causes_that_a_short_wait_does_not_fix_wait_longer(cause: DisconnectCause) -> None:
    """Their delays are four times as long."""
    assert delays(reconnect_policy(), cause, 8) == [2, 4, 8, 16, 32, 64, 120, 120]


def test_the_jitter_is_full() -> None:
    """A delay may be close to zero."""
    draws = [
        reconnect_policy(rng=random.Random(seed)).delay_seconds(lost(DisconnectCause.NETWORK)) for seed in range(200)
    ]
    assert 0 <= min(draws) < 0.05
    assert 0.45 < max(draws) <= 0.5


def test_the_server_may_ask_to_wait() -> None:
    """Retry-After, up to an hour, is waited for in full before the policy's own delay."""
    subject = reconnect_policy()
    assert subject.delay_seconds(lost(DisconnectCause.THROTTLED, 60.0)) == 62
    assert subject.delay_seconds(lost(DisconnectCause.THROTTLED, 0.0)) == 4
    assert subject.delay_seconds(lost(DisconnectCause.THROTTLED, 1e9)) == MAX_RETRY_AFTER_SECONDS + 8


def test_a_token_that_can_change_is_retried_at_once_and_then_slowly_for_ever() -> None:
    """After the first rejection a fresh token is tried at once; the next ones wait for the slow delays."""
    assert delays(reconnect_policy(), DisconnectCause.AUTH_REFUSED, 5) == [0, 2, 4, 8, 16]
    assert max(delays(reconnect_policy(), DisconnectCause.AUTH_REFUSED, 100)) == 120


def test_a_fixed_token_is_given_up_after_three_rejections() -> None:
    """No wait changes a fixed token."""
    subject = reconnect_policy(token_can_change=False)
    assert delays(subject, DisconnectCause.AUTH_REFUSED, 2) == [2, 4]
    with pytest.raises(CredentialsRefused) as caught:
        subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))
    assert caught.value.exit_code == 3
    assert "3 times (because)" in str(caught.value)


def test_a_rejected_handshake_is_no_rejection_of_a_token() -> None:
    """No token was sent, so that the handshake is retried slowly, for ever."""
    subject = reconnect_policy(token_can_change=False)
    refused = HandshakeRefused(DisconnectCause.AUTH_REFUSED, "HTTP 403")
    assert [subject.delay_seconds(refused) for _ in range(5)] == [2, 4, 8, 16, 32]
    assert subject.token_rejections == 0


def test_other_losses_do_not_reset_the_rejections_of_a_fixed_token() -> None:
    """Only an acceptance does."""
    subject = reconnect_policy(token_can_change=False)
    subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))
    subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))
    subject.token_accepted()
    subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))
    subject.delay_seconds(lost(DisconnectCause.NETWORK))
    subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))
    with pytest.raises(CredentialsRefused):
        subject.delay_seconds(lost(DisconnectCause.AUTH_REFUSED))


def test_only_a_session_with_data_for_a_while_resets_the_delays() -> None:
    """A handshake, an accepted token or a moment of data does not."""
    subject = reconnect_policy()
    delays(subject, DisconnectCause.NETWORK, 4)
    subject.token_accepted()
    subject.data_received_for(29.9)
    assert subject.delay_seconds(lost(DisconnectCause.NETWORK)) == 8
    subject.data_received_for(30.0)
    assert subject.delay_seconds(lost(DisconnectCause.NETWORK)) == 0.5


def test_the_slow_delays_take_longer_to_be_reset() -> None:
    """Two bridges that evict one another every minute do so less and less often."""
    subject = reconnect_policy()
    delays(subject, DisconnectCause.EVICTED, 3)
    subject.data_received_for(60.0)
    assert subject.delay_seconds(lost(DisconnectCause.EVICTED)) == 16
    subject.data_received_for(120.0)
    assert subject.delay_seconds(lost(DisconnectCause.EVICTED)) == 2


@pytest.mark.parametrize(
    ("cause", "most"),
    [
        (DisconnectCause.CLOSED, 350),
        (DisconnectCause.AUTH_REFUSED, 120),
        (DisconnectCause.EVICTED, 120),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_accepts_and_then_closes_is_not_flooded(cause: DisconnectCause, most: int, seed: int) -> None:
    """In an hour of sessions that start well and end at once, attempts stay few."""
    subject = reconnect_policy(rng=random.Random(seed))
    passed_seconds, attempts = 0.0, 0
    while passed_seconds < HOUR_SECONDS:
        subject.token_accepted()
        subject.data_received_for(0.2)
        passed_seconds += subject.delay_seconds(lost(cause))
        attempts += 1
    assert attempts < most


def test_a_rejection_after_a_good_session_is_retried_at_once() -> None:
    """The next rejection counts as the first."""
    subject = reconnect_policy()
    assert delays(subject, DisconnectCause.AUTH_REFUSED, 2) == [0, 2]
    subject.token_accepted()
    subject.data_received_for(45.0)
    assert delays(subject, DisconnectCause.AUTH_REFUSED, 2) == [0, 4]
