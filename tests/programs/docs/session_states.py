"""Keep the state diagrams in ``bridge/aries/README.md`` equal to the transitions that the state machines use.

``python -m tests.programs.docs.session_states --write`` updates them; ``--check`` (the default) only compares.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from bridge.aries.protocol import authentication, subscribing
from bridge.aries.protocol.action import Action
from bridge.aries.protocol.dialect import RequestIds
from bridge.aries.protocol.outgoing import Outgoing
from bridge.aries.subscriptions import Plan
from tests.support import generated as generated_part
from tests.support.generated import with_part
from tests.support.paths import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

README: Final = PACKAGE / "aries/README.md"
BEGIN: Final = "<!-- session-states:begin -->\n"
END: Final = "<!-- session-states:end -->"

State = TypeVar("State", bound=StrEnum)
Trigger = TypeVar("Trigger", bound=StrEnum)


def diagrams() -> str:
    """Return the diagrams of authentication and subscribing as Markdown."""
    authenticating = authentication.Authentication(now=0.0)
    requesting = subscribing.Subscribing(Action(), Plan(), RequestIds(), outgoing=Outgoing(1), events=[])
    return "\n".join(
        (
            "Authentication:\n",
            *_diagram(authenticating.state, authentication.TRANSITIONS),
            "\nSubscribing:\n",
            *_diagram(requesting.state, subscribing.TRANSITIONS),
            "",
        )
    )


def _diagram(initial: State, transitions: Mapping[State, Mapping[Trigger, State]]) -> Iterator[str]:
    """Yield the lines of a Mermaid state diagram."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {initial}"
    for state, targets in transitions.items():
        for trigger, target in targets.items():
            yield f"    {state} --> {target}: {trigger}"
    yield "```"


def generated(readme: str) -> str:
    """Return the README with the diagrams as they are now."""
    return with_part(README, readme, BEGIN, diagrams(), END)


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README; return what is wrong with it."""
    return generated_part.main("tests.programs.docs.session_states", README, generated, arguments)


if __name__ == "__main__":
    sys.exit(main())
