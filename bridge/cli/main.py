"""The command line: the only place that turns errors into exit codes.

Importing all that the commands need takes a second or more, and a signal can come before it is over. So this module
imports almost nothing at first, and :func:`main` sees to signals before anything else. As the first process of a
container, the bridge would otherwise not even hear a SIGTERM: the kernel keeps it from a process 1 that has no
handler (pid_namespaces(7)).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_STANDARD_ERROR = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command line; an error of ours ends in its message and its exit code."""
    _open_standard_streams()
    is_service = sys.argv[1:2] == ["run"]
    handlers = {number: signal.signal(number, _end_service if is_service else _end) for number in _SIGNALS}
    from bridge.errors import BridgeError  # noqa: PLC0415 - see above

    try:
        if sys.argv[1:] == ["run"]:
            _serve()
        else:
            from bridge.cli.commands import app  # noqa: PLC0415 - likewise

            if not is_service:  # which lets ours stand until its own take over
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            app()
    except BridgeError as error:
        print(f"aries-bridge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        _let_go_of_standard_error()


def _serve() -> None:
    """Run the service alone: it starts faster without what the other commands need."""
    from bridge.cli import run as service  # noqa: PLC0415 - see above

    sys.exit(service.run())


def _end(number: int, _frame: FrameType | None) -> None:
    """End a command that has not begun, with the exit code that shells have for a signal."""
    os._exit(128 + number)


def _end_service(_number: int, _frame: FrameType | None) -> None:
    """End a service that has read nothing yet: so nothing is undelivered."""
    os._exit(0)


def _let_go_of_standard_error() -> None:
    """Keep one that takes nothing, as on a full disk, from changing the exit code when the interpreter flushes it."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_ERROR)


def _open_standard_streams() -> None:
    """Open on nothing what is closed of the three: else the next socket would get its number, and our words."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(nowhere)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_STANDARD_ERROR, "w", closefd=False)
