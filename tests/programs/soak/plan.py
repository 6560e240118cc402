"""The plan of a soak: a pure function of the seed and the kinds, so that a failing seed replays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    Play = Callable[..., Coroutine[Any, Any, None]]

#: Seconds without faults before a step.
STEADY_SECONDS = (2.0, 5.0)
#: How often a step has two faults at the same time.
PAIR_PROBABILITY = 0.25


class Family(StrEnum):
    """The part of the system that a fault belongs to."""

    KAFKA = "kafka"
    FEED = "feed"
    PROCESS = "process"
    SUBSCRIPTIONS = "subscriptions"
    GROUP = "group"


@dataclass(frozen=True)
class Kind:
    """A kind of fault: ``play`` injects it with drawn parameters and removes it again."""

    name: str
    family: Family
    play: Play
    draws: Mapping[str, Callable[[Random], Any]]
    #: Whether no other fault may come at the same time, as what is expected meanwhile would not hold.
    alone: bool = False

    def drawn(self, chance: Random) -> Fault:
        """Draw the parameters."""
        return Fault(self, {name: draw(chance) for name, draw in self.draws.items()})


@dataclass(frozen=True)
class Fault:
    """A fault with its parameters."""

    kind: Kind
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind.name}({', '.join(f'{name}={value}' for name, value in self.parameters.items())})"


@dataclass(frozen=True)
class Step:
    """A step of a plan: a time without faults, then faults at the same time, each of another family."""

    number: int
    steady_seconds: float
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"step {self.number}, after {self.steady_seconds:g} s: {' + '.join(map(str, self.faults))}"


def steps(seed: int, kinds: Sequence[Kind]) -> Iterator[Step]:
    """Yield steps without end; every kind is used once before any is used again."""
    chance = Random(f"steps {seed}")
    remaining: list[Kind] = []
    for number in count(1):
        remaining = remaining or chance.sample(kinds, len(kinds))
        steady_seconds = round(chance.uniform(*STEADY_SECONDS), 1)
        drawn = [remaining.pop()]
        others = [
            kind for kind in remaining if kind.family is not drawn[0].family and not kind.alone and not drawn[0].alone
        ]
        if chance.random() < PAIR_PROBABILITY and others:
            drawn.append(others[-1])
            remaining.remove(others[-1])
        yield Step(number, steady_seconds, tuple(kind.drawn(chance) for kind in drawn))


def process_settings(seed: int, number: int) -> dict[str, str]:
    """Return the settings that differ between bridge processes."""
    chance = Random(f"bridge {seed} {number}")
    return {
        "ARIES_DIALECT": chance.choice(("envelope", "action")),
        "BRIDGE_BUFFER_BYTES": str(chance.choice((2, 8, 64)) << 20),
        "KAFKA_COMPRESSION": chance.choice(("none", "lz4", "zstd")),
        "KAFKA_LINGER_MS": str(chance.choice((0, 2, 20))),
    }


def instance_settings(seed: int, instance: str) -> dict[str, str]:
    """Return the settings that all processes of a name have.

    One that is killed before its first heartbeat has not announced that it conflates: ``verify`` knows that from others
    of its name.
    """
    chance = Random(f"instance {seed} {instance}")
    return {"BRIDGE_INSTANCE": instance, "BRIDGE_CONFLATE_MS": str(chance.choice((0, 0, 100)))}


# Distributions of parameters


def between(least: float, most: float) -> Callable[[Random], float]:
    """Draw a number with one decimal."""
    return lambda chance: round(chance.uniform(least, most), 1)


def whole(least: int, most: int) -> Callable[[Random], int]:
    """Draw a whole number, both ends included."""
    return lambda chance: chance.randint(least, most)


def one_of(*values: object) -> Callable[[Random], object]:
    """Draw one of these."""
    return lambda chance: chance.choice(values)
