"""The result of a soak, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from tests.programs.soak.plan import Step

MIB = 1 << 20


@dataclass(frozen=True)
class Played:
    """The result of a step; ``problem`` is None if the bridge recovered."""

    step: Step
    began_seconds: float
    seconds: float
    recovery_seconds: float
    problem: str | None
    rss_before_bytes: int
    rss_highest_bytes: int
    process: int


@dataclass
class Verdict:
    """The result of a soak."""

    seed: int
    seconds: float
    rate: float
    played: list[Played] = field(default_factory=list)
    #: The output of ``aries-bridge verify --json``, and its exit code.
    verified: dict[str, Any] = field(default_factory=dict)
    verify_exit_code: int | None = None
    problems: list[str] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Return whether the bridge recovered from all faults, and nothing else is wrong."""
        return not (self.problems or self.unrecovered or self.verify_exit_code != 0 or not self.totals.get("records"))

    @property
    def tried(self) -> Counter[str]:
        """Return how often each kind of fault was injected."""
        return Counter(fault.kind.name for played in self.played for fault in played.step.faults)

    @property
    def unrecovered(self) -> list[Played]:
        """Return the steps from which the bridge did not recover."""
        return [played for played in self.played if played.problem is not None]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the rows of the summary."""
        lost_kinds = {fault.kind.name for played in self.unrecovered for fault in played.step.faults}
        kinds, times = len(self.tried), self.tried.total()
        grown = max((played.rss_highest_bytes - played.rss_before_bytes for played in self.played), default=0)
        return [
            ("seed", str(self.seed)),
            ("time", f"{self.seconds:.0f} s at {self.rate:,.0f} events/s"),
            ("kinds of fault injected", f"{kinds} ({times} times in {len(self.played)} steps)"),
            ("… recovered from", str(kinds - len(lost_kinds))),
            *((name.replace("_", " "), f"{count:,}") for name, count in self.totals.items()),
            ("most memory growth in a fault", f"{grown / MIB:.1f} MiB"),
            ("verify", f"exit code {self.verify_exit_code}: {self.verified.get('verdict')}"),
            ("other problems", str(len(self.problems))),
            ("result", "PASSED" if self.passed else "FAILED"),
        ]

    def table(self) -> Table:
        """Return the summary for a terminal."""
        shown = Table(show_header=False, box=None, pad_edge=False)
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "seed": self.seed,
            "passed": self.passed,
            "seconds": round(self.seconds, 1),
            "rate": self.rate,
            "kinds_tried": dict(self.tried),
            "totals": self.totals,
            "problems": self.problems,
            "steps": [_step(played) for played in self.played],
            "verify_exit_code": self.verify_exit_code,
            "verified": self.verified,
        }


def _step(played: Played) -> dict[str, Any]:
    document = asdict(played)
    document["step"] = str(played.step)
    return document


def loss_counts(verified: dict[str, Any]) -> dict[str, int]:
    """Return the figures that must be 0, and the records they are of, from what ``verify`` found."""
    rows = verified.get("topics", [])
    kinds = Counter(finding["kind"] for finding in verified.get("findings", []))
    return {
        "records": sum(row["records"] for row in rows),
        "lost silently (holes)": sum(row["holes"] for row in rows),
        "unexplained repeats": kinds["repeat"],
        "order breaks": sum(row["order_breaks"] for row in rows),
        "repeats": sum(row["repeats"] for row in rows),
        "jumps explained": sum(row["jumps_explained"] for row in rows),
        "dead letters": verified.get("dead_letters", 0),
    }
