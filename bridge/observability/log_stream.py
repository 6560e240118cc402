"""Standard error as the logs write it: nobody has to read it, and the bridge goes on.

A pipe that is full because its reader hangs would hold whoever writes, here the event loop: no ping, no record, no
signal any more. So a line waits a moment for room, once; then lines are lost, and counted, until there is room again.
"""

from __future__ import annotations

import io
import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

#: How long the first line waits that finds no room; a reader that is only slow makes some within this time.
PATIENCE_SECONDS: Final = 0.1
#: What a pipe takes without waiting once it says that it has room: ``PIPE_BUF`` on Linux (pipe(7)), and a character
#: has at most four bytes.
_CHARACTERS_AT_ONCE: Final = 4096 // 4


class LogStream:
    """Write lines to a stream that may be blocked or gone.

    ``tell_lost`` is called with the number of lost lines when one gets through again.
    """

    def __init__(self, stream: TextIO, tell_lost: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell_lost = tell_lost
        self._lost = 0
        self._is_cut = False
        self._poll = _poll_of(stream)

    def write(self, line: str) -> None:
        """Write a whole line, or lose it."""
        if not self._pass_on("\n" + line if self._is_cut else line):
            self._lost += 1
            return
        self._is_cut = False
        lost, self._lost = self._lost, 0
        if lost:
            self._tell_lost(lost)

    def flush(self) -> None:
        """Do nothing: what is written is flushed."""

    def _pass_on(self, text: str) -> bool:
        for start in range(0, len(text), _CHARACTERS_AT_ONCE):
            try:
                if not self._has_room():
                    return False
                self._stream.write(text[start : start + _CHARACTERS_AT_ONCE])
                self._stream.flush()
            except OSError:  # nobody reads it (EPIPE), or the disk of a file is full
                return False
            self._is_cut = True
        return True

    def _has_room(self) -> bool:
        if self._poll is None:
            return True
        wait_seconds = 0.0 if self._lost else PATIENCE_SECONDS
        return bool(self._poll.poll(wait_seconds * 1000))


def _poll_of(stream: TextIO) -> select.poll | None:
    """Return what tells whether a stream has room; None where it is none of the system's."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), select.POLLOUT)
    except io.UnsupportedOperation:
        return None
    return poll
