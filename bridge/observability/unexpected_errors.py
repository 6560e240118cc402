"""Unexpected errors: logged with all their causes, through the redactor, wherever they are raised.

By default Python and asyncio write them to standard error as tracebacks: not as JSON, unredacted, and one of several.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog

from bridge import log_events
from bridge.errors import BridgeError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

#: Causes beyond that are not listed; the traceback has them.
MAX_CAUSES: Final = 50
#: Keys of asyncio's error context that name the object at fault, if there is no exception.
_SUBJECTS: Final = ("task", "future", "handle", "protocol", "transport", "socket", "asyncgen")


def report_fatal(error: BaseException) -> int:
    """Log the error that ends the process, with all its causes; return the exit code."""
    members = list(_members(error))
    ours = [member for member in members if isinstance(member, BridgeError)]
    if len(ours) == len(members):  # messages for the operator, which a traceback would only hide
        problem, code = "\n".join(dict.fromkeys(map(str, ours))), ours[0].exit_code
        log.critical(log_events.FATAL_ERROR, problem=problem, exit_code=code)
        return code
    found = causes(error)
    problem = f"unexpected error: {found[0]}. It is a defect of the bridge or of a library: report this line."
    log.critical(log_events.FATAL_ERROR, problem=problem, causes=found, exit_code=1, exc_info=error)
    return 1


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of a callback, or of a task that is not awaited (an exception handler of an event loop)."""
    error = context.get("exception")
    about = [repr(context[name]) for name in _SUBJECTS if name in context] if error is None else []
    _log(context["message"], error, about=about)


def install_hooks() -> None:
    """Log errors that end a thread, or that cannot be caught, such as those of ``__del__``."""
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable


def causes(error: BaseException | None) -> list[str]:
    """Return the texts of an error, or of a group's members, and of what each was raised from, each once."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < MAX_CAUSES:
        one = waiting.pop(0)
        if one is None or any(one is other for other in found):
            continue
        found.append(one)
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        raised_during = None if one.__suppress_context__ else one.__context__
        waiting = [*members, one.__cause__, raised_during, *waiting]
    return [_text(one) for one in found if not isinstance(one, BaseExceptionGroup)]


def _members(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _members(member)
    else:
        yield error


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot be shown must not hide the others
        text = f"its text cannot be shown ({type(broken).__name__})"
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        _log(f"thread {args.thread.name if args.thread is not None else 'unknown'} ended", args.exc_value)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    _log(args.err_msg or "exception ignored", args.exc_value, about=[_named(args.object)])


def _named(value: object) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _log(problem: str, error: BaseException | None, *, about: list[str] | None = None) -> None:
    log.error(log_events.UNEXPECTED_ERROR, problem=problem, causes=causes(error), about=about or [], exc_info=error)
