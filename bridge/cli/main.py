"""The entry point of the command line: the only place that turns errors into exit codes.

Importing what the commands need takes about a second, and a signal may arrive before that is done. So this module
imports almost nothing, and :func:`main` installs signal handlers first. Without a handler the first process of a
container does not even receive SIGTERM: the kernel discards signals that process 1 does not handle
(pid_namespaces(7)).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_STDERR = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command line; an error of the bridge ends it with its message and its exit code."""
    _open_standard_streams()
    is_service = sys.argv[1:2] == ["run"]
    handlers = {number: signal.signal(number, _exit_service if is_service else _exit) for number in _SIGNALS}
    from bridge.errors import BridgeError  # noqa: PLC0415 - see above

    try:
        if sys.argv[1:] == ["run"]:
            _run_service()
        else:
            from bridge.cli.commands import app  # noqa: PLC0415 - likewise

            if not is_service:  # the service replaces the handlers when it has started
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            _run_command(app)
    except BridgeError as error:
        print(f"aries-bridge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - a raw traceback may have secrets in it
        from bridge.cli import output  # noqa: PLC0415 - see above

        if problem := output.failure(error):
            output.discard(sys.stdout)
            with suppress(OSError):
                print(f"aries-bridge: {problem}", file=sys.stderr)
            sys.exit(1)
        sys.exit(_report_unexpected(error, "json" if is_service else "console"))
    finally:
        _flush_stderr()


def _run_service() -> None:
    """Run the service without the imports of the other commands, and of what it never uses: it starts faster."""
    gc.disable()  # until everything is imported: nothing of it can be freed
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail: structlog would import it
    from bridge.cli import run as service  # noqa: PLC0415 - see above

    sys.exit(service.run())


def _run_command(app: Callable[[], None]) -> None:
    """Run a command, and flush what it has written: a full disk may be noticed only then."""
    try:
        app()
    finally:
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report_unexpected(error: Exception, log_format: Literal["json", "console"]) -> int:
    """Log an unexpected error, before or without the logs of a service; return the exit code."""
    from bridge.observability import log_config, unexpected_errors  # noqa: PLC0415 - see above
    from bridge.settings import secrets_in  # noqa: PLC0415 - likewise

    log_config.configure("INFO", log_format, secrets_in(os.environ))
    return unexpected_errors.report_fatal(error)


def _exit(number: int, _frame: FrameType | None) -> None:
    """Exit before the command has started, with the exit code that shells report for a signal."""
    os._exit(128 + number)


def _exit_service(_number: int, _frame: FrameType | None) -> None:
    """Exit before the service has started: it has read nothing, so nothing is undelivered."""
    os._exit(0)


def _flush_stderr() -> None:
    """Flush standard error; if that fails, as on a full disk, keep Python's own flush from changing the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)


def _open_standard_streams() -> None:
    """Open closed standard streams on ``os.devnull``: else a socket would get their number, and our output."""
    while (devnull := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(devnull)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_STDERR, "w", closefd=False)
