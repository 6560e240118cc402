"""What goes wrong when: a pure function of the seed and the kinds, so that a failing seed replays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    Play = Callable[..., Coroutine[Any, Any, None]]

#: How long all is well before the next step.
CALM_SECONDS = (2.0, 5.0)
#: How often a second thing goes wrong at the same time.
COMPANY = 0.25


class Family(StrEnum):
    """Name the part of the world where something goes wrong."""

    KAFKA = "kafka"
    FEED = "feed"
    PROCESS = "process"


@dataclass(frozen=True)
class Kind:
    """Be one way to go wrong: ``play`` lets it happen with drawn parameters, and makes it good again."""

    name: str
    family: Family
    play: Play
    draws: Mapping[str, Callable[[Random], Any]]

    def drawn(self, chance: Random) -> Fault:
        """Return this kind of fault with parameters by chance."""
        return Fault(self, {name: draw(chance) for name, draw in self.draws.items()})


@dataclass(frozen=True)
class Fault:
    """Be something that goes wrong once."""

    kind: Kind
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind.name}({', '.join(f'{name}={value}' for name, value in self.parameters.items())})"


@dataclass(frozen=True)
class Step:
    """Be one step of a plan: a calm, then faults at the same time, each in a family of its own."""

    number: int
    calm_seconds: float
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"step {self.number}, after {self.calm_seconds:g} s: {' + '.join(map(str, self.faults))}"


def steps(seed: int, kinds: Sequence[Kind]) -> Iterator[Step]:
    """Yield steps for ever: every kind comes once before any comes again."""
    chance = Random(f"steps {seed}")
    deck: list[Kind] = []
    for number in count(1):
        deck = deck or chance.sample(kinds, len(kinds))
        calm_seconds = round(chance.uniform(*CALM_SECONDS), 1)
        drawn = [deck.pop()]
        others = [kind for kind in deck if kind.family is not drawn[0].family]
        if chance.random() < COMPANY and others:
            drawn.append(others[-1])
            deck.remove(others[-1])
        yield Step(number, calm_seconds, tuple(kind.drawn(chance) for kind in drawn))


def life_settings(seed: int, number: int) -> dict[str, str]:
    """Return what differs from one bridge process to the next."""
    chance = Random(f"life {seed} {number}")
    return {
        "ARIES_DIALECT": chance.choice(("envelope", "action")),
        "BRIDGE_BUFFER_BYTES": str(chance.choice((2, 8, 64)) << 20),
        "BRIDGE_CONFLATE_MS": str(chance.choice((0, 0, 100))),
        "KAFKA_COMPRESSION": chance.choice(("none", "lz4", "zstd")),
        "KAFKA_LINGER_MS": str(chance.choice((0, 2, 20))),
    }


# What parameters can be drawn from


def between(least: float, most: float) -> Callable[[Random], float]:
    """Draw a number with one decimal."""
    return lambda chance: round(chance.uniform(least, most), 1)


def whole(least: int, most: int) -> Callable[[Random], int]:
    """Draw a whole number, both ends included."""
    return lambda chance: chance.randint(least, most)


def one_of(*values: object) -> Callable[[Random], object]:
    """Draw one of these."""
    return lambda chance: chance.choice(values)
