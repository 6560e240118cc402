"""Whether a process can publish what it owns: while an owner cannot reach Aries, others are preferred."""

from __future__ import annotations

from typing import Final

#: How long an owner may be without a session with Aries until others are preferred, and for how long they are.
UNREACHABLE_SECONDS: Final = 15.0
UNFIT_SECONDS: Final = 300.0


class Fitness:
    """What this process has found out about Aries; it can try only while it owns a shard."""

    def __init__(self) -> None:
        self._without_session_since: float | None = None
        self._unfit_since: float | None = None

    @property
    def is_fit(self) -> bool:
        """Return whether this process may be given shards as well as any other."""
        return self._unfit_since is None

    def check(self, now: float, *, has_session: bool, is_owner: bool) -> bool:
        """Look again, at a monotonic time; return whether ``is_fit`` has changed."""
        was_fit = self.is_fit
        if has_session or not is_owner:
            self._without_session_since = None
            if self._unfit_since is not None and (has_session or now - self._unfit_since > UNFIT_SECONDS):
                self._unfit_since = None
        else:
            self._without_session_since = self._without_session_since or now
            if was_fit and now - self._without_session_since > UNREACHABLE_SECONDS:
                self._unfit_since = now
        return self.is_fit is not was_fit
