"""The states of authentication and subscribing, and their diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol import authentication, subscribing
from tests.programs.docs import session_states

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum


def test_the_diagrams_in_the_readme_are_the_transitions_of_the_code() -> None:
    """``make docs`` updates them."""
    assert session_states.main([]) is None


@pytest.mark.parametrize("transitions", [authentication.TRANSITIONS, subscribing.TRANSITIONS])
def test_every_state_can_be_reached_and_left(transitions: Mapping[StrEnum, Mapping[StrEnum, StrEnum]]) -> None:
    """No state is a dead end; a lost connection ends the session as a whole."""
    states = list(type(next(iter(transitions))))
    assert list(transitions) == states
    reached = {target for targets in transitions.values() for target in targets.values()}
    assert reached | {states[0]} == set(states)
    assert all(targets and state not in targets.values() for state, targets in transitions.items())
