"""What a soak has shown, for people and as JSON."""

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
    """Tell how a step went; ``problem`` is None where the bridge came through."""

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
    """Sum up a soak."""

    seed: int
    seconds: float
    rate: float
    played: list[Played] = field(default_factory=list)
    #: What ``aries-bridge verify --json`` said, and its exit code.
    verified: dict[str, Any] = field(default_factory=dict)
    verify_exit_code: int | None = None
    problems: list[str] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Return whether all kinds were recovered, all is proven, and nothing else was found."""
        return not (self.problems or self.unrecovered or self.verify_exit_code != 0 or not self.totals.get("records"))

    @property
    def tried(self) -> Counter[str]:
        """Return how often each kind of fault was tried."""
        return Counter(fault.kind.name for played in self.played for fault in played.step.faults)

    @property
    def unrecovered(self) -> list[Played]:
        """Return the steps the bridge did not come through."""
        return [played for played in self.played if played.problem is not None]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the short table."""
        lost_kinds = {fault.kind.name for played in self.unrecovered for fault in played.step.faults}
        kinds, times = len(self.tried), self.tried.total()
        grown = max((played.rss_highest_bytes - played.rss_before_bytes for played in self.played), default=0)
        return [
            ("seed", str(self.seed)),
            ("time", f"{self.seconds:.0f} s at {self.rate:,.0f} events/s"),
            ("kinds of fault tried", f"{kinds} ({times} times in {len(self.played)} steps)"),
            ("… recovered", str(kinds - len(lost_kinds))),
            *((name.replace("_", " "), f"{count:,}") for name, count in self.totals.items()),
            ("memory growth in a fault, at most", f"{grown / MIB:.1f} MiB"),
            ("verify", f"exit code {self.verify_exit_code}: {self.verified.get('verdict')}"),
            ("other problems", str(len(self.problems))),
            ("result", "PASSED" if self.passed else "FAILED"),
        ]

    def table(self) -> Table:
        """Return the rows for a terminal."""
        shown = Table(show_header=False, box=None, pad_edge=False)
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
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
    told = asdict(played)
    told["step"] = str(played.step)
    return told


def loss_counts(verified: dict[str, Any]) -> dict[str, int]:
    """Return the figures that must be 0, and the records they are of, from what ``verify`` found."""
    rows = verified.get("topics", [])
    kinds = Counter(finding["kind"] for finding in verified.get("findings", []))
    return {
        "records": sum(row["records"] for row in rows),
        "lost in silence (holes)": sum(row["holes"] for row in rows),
        "repeats unexplained": kinds["repeat"],
        "order breaks": sum(row["order_breaks"] for row in rows),
        "repeats": sum(row["repeats"] for row in rows),
        "jumps explained": sum(row["jumps_explained"] for row in rows),
        "dead letters": verified.get("dead_letters", 0),
    }
