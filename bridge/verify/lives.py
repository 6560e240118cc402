"""What control says: the lives of bridge processes, their sessions, and their accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.control_events import ControlKind
from bridge.topics import Topic
from bridge.verify.findings import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.verify.findings import Findings, Place

_READ: Final = ("lines_received", "split")
_ACCOUNTS: Final = tuple(Accounts().totals())
_GROWING: Final = tuple(name for name in _ACCOUNTS if name != "pending")


@dataclass(slots=True)
class Life:
    """Hold what is known of one process: its sessions, and the accounts as it told them last."""

    instance: str
    shard: int
    place: Place
    #: Whether its first session that published anything is known.
    whole: bool
    sessions: list[int] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    time_us: int = 0
    complete: bool = False
    gap_open: bool = False
    #: Whether it ever said that records were merged, or that it was overloaded.
    conflates: bool = False
    #: What was reported of its accounts, each only once.
    told: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Return how to call it in a sentence."""
        return f"the bridge {self.instance!r}" + (f", shard {self.shard}," if self.shard else "")

    def may_go_on_with(self, counts: Mapping[str, int]) -> bool:
        """Return whether a new session with these accounts can be this process's."""
        return self.gap_open and not self.complete and not _fell(self.counts, counts)


class Lives:
    """Follow the control records of all bridges, each record in the order of its partition."""

    def __init__(self, findings: Findings) -> None:
        self.lives: list[Life] = []
        self._findings = findings
        self._of_session: dict[int, Life] = {}
        self._latest: dict[tuple[str, int], Life] = {}

    def of_session(self, session_id: int) -> Life | None:
        """Return whose session this is."""
        return self._of_session.get(session_id)

    def take(self, place: Place, record: Mapping[str, Any]) -> None:
        """Take one control record."""
        session_id, counts = record["session_id"], record["counts"]
        self._check_balance(place, record)
        if session_id is None:
            return
        life = self._of_session.get(session_id) or self._begin_session(place, record)
        if life.time_us >= record["time_us"] and not _rose(life.counts, counts):
            return  # sent again by a rebuilt producer
        if fell := _fell(life.counts, counts):
            self._report(place, record, f"the account of {', '.join(fell)} has gone back since {life.place}")
        life.place, life.time_us, life.counts = place, record["time_us"], counts
        self._note(life, record)

    def conflates(self, instance: str) -> bool:
        """Return whether a bridge of this name ever said that it merges records."""
        return any(life.conflates for life in self.lives if life.instance == instance)

    def _begin_session(self, place: Place, record: Mapping[str, Any]) -> Life:
        name = record["instance"], record["shard"]
        life = self._latest.get(name)
        if life is None or not life.may_go_on_with(record["counts"]):
            life = Life(*name, place, whole=_is_first_word(record))
            self.lives.append(life)
            self._latest[name] = life
        life.sessions.append(record["session_id"])
        self._of_session[record["session_id"]] = life
        return life

    def _note(self, life: Life, record: Mapping[str, Any]) -> None:
        match record["kind"]:
            case ControlKind.GAP:
                life.gap_open = True
            case ControlKind.RESUMED:
                life.gap_open = False
            case ControlKind.SESSION_COMPLETED:
                life.complete = True
            case ControlKind.OVERLOAD:
                life.conflates = True
        if record["counts"].get("conflated"):
            life.conflates = True

    def _check_balance(self, place: Place, record: Mapping[str, Any]) -> None:
        counts = record["counts"]
        missing = [name for name in _ACCOUNTS if name not in counts]
        if missing:
            self._report(place, record, f"the accounts are without {', '.join(missing)}")
            return
        read = sum(counts[name] for name in _READ)
        ended = sum(counts[name] for name in _ACCOUNTS) - read
        if read != ended:
            listed = ", ".join(f"{name} {counts[name]}" for name in _ACCOUNTS)
            self._report(place, record, f"the accounts do not add up: {read} read, {ended} accounted for ({listed})")

    def _report(self, place: Place, record: Mapping[str, Any], said: str) -> None:
        said = f"{record['kind']} of {record['instance']!r}: {said}"
        finding = Finding(Kind.ACCOUNTS, Topic.CONTROL, place, said, session_id=record["session_id"])
        self._findings.add(finding)


def _is_first_word(record: Mapping[str, Any]) -> bool:
    return bool(record["kind"] == ControlKind.SESSION_STARTED and record["counts"].get("published") == 0)


def _fell(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    return [name for name in _GROWING if now.get(name, 0) < before.get(name, 0)]


def _rose(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    return [name for name in _GROWING if now.get(name, 0) > before.get(name, 0)]
