"""Standard error while a live view has the terminal: what is logged is kept for it, and printed after it."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

#: So many lines are printed when the view ends; older ones are counted.
KEPT_LINES: Final = 200


class LogLines(io.TextIOBase):
    """Stand for standard error, passing on what is written unless it is to be held back."""

    def __init__(self, stderr: TextIO) -> None:
        self._stderr = stderr
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._written = 0
        self._rest = ""
        self._holding = False

    def write(self, text: str) -> int:
        """Take text; a line counts when it has ended."""
        if not self._holding:
            return self._stderr.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines.extend(lines)
        self._written += len(lines)
        return len(text)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        if not self._holding:
            self._stderr.flush()

    def isatty(self) -> bool:
        """Tell whether to write colours (no-color.org)."""
        return self._stderr.isatty() and not os.environ.get("NO_COLOR")

    def fileno(self) -> int:
        """Return the descriptor of the real one."""
        return self._stderr.fileno()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what is held back, oldest first."""
        return tuple(self._lines)

    def hold(self) -> None:
        """Hold back what is written from now on."""
        self._holding = True

    def release(self) -> None:
        """Print what was held back, and hold back no more."""
        self._holding = False
        if forgotten := self._written - len(self._lines):
            self._stderr.write(f"({forgotten:,} earlier log lines are left out)\n")
        self._stderr.write("".join(f"{line}\n" for line in self._lines) + self._rest)
        self._stderr.flush()
        self._lines.clear()
        self._rest, self._written = "", 0
