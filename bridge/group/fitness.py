"""Whether a process can publish what it owns: while an owner cannot reach Aries, others are preferred."""

from __future__ import annotations

from typing import Final

#: How long an owner may be without a session with Aries until others are preferred, and for how long they are.
UNREACHABLE_SECONDS: Final = 15.0
UNFIT_SECONDS: Final = 300.0


class Fitness:
    """What this process has found out about Aries; it can try only while it owns a shard."""

    def __init__(self) -> None:
        self._with_session_since: float | None = None
        self._without_session_since: float | None = None
        self._unfit_since: float | None = None

    @property
    def is_fit(self) -> bool:
        """Return whether this process may be given shards as well as any other."""
        return self._unfit_since is None or self._with_session_since is not None

    def check(self, now: float, *, has_session: bool, is_owner: bool) -> bool:
        """Look again, at a monotonic time; return whether the group should assign its shards again."""
        self._with_session_since = (self._with_session_since or now) if has_session else None
        if has_session or not is_owner:
            self._without_session_since = None
            if self._unfit_since is None or not self._is_fit_again(self._unfit_since, now):
                return False
            self._unfit_since = None
            return True
        self._without_session_since = self._without_session_since or now
        if self._unfit_since is not None or now - self._without_session_since <= UNREACHABLE_SECONDS:
            return False
        self._unfit_since = now
        return True

    def _is_fit_again(self, unfit_since: float, now: float) -> bool:
        """Return whether others may know it: those that Aries was away for, too, have had time to reconnect."""
        if self._with_session_since is None:
            return now - unfit_since > UNFIT_SECONDS
        return now - self._with_session_since > UNREACHABLE_SECONDS
