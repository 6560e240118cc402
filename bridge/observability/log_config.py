"""Set up the logs: JSON objects or lines for people on standard error, without secrets."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

from bridge.observability import log_events
from bridge.observability.log_stream import LogStream
from bridge.observability.log_throttle import LogThrottle
from bridge.secrets.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

    from bridge.secrets.secret import Secret

log = structlog.get_logger(__name__)

_FIRST = ("timestamp", "level", "logger", "event")
_LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "watchfiles", "websockets")


def configure(level: str, fmt: Literal["json", "console"], secrets: Iterable[Secret] = ()) -> Redactor:
    """Send our logs and those of the libraries to standard error; return what keeps secrets out of them."""
    redactor = Redactor(secrets)
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last = _json_lines(redactor) if fmt == "json" else _for_people(redactor)
    _install(
        ProcessorFormatter(foreign_pre_chain=before, processors=[ProcessorFormatter.remove_processors_meta, *last])
    )
    _set_levels(logging.getLevelNamesMapping()[level])
    return redactor


def _json_lines(redactor: Redactor) -> list[Processor]:
    # Local variables of the frames would be a way around all redaction.
    exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [exceptions, redactor, _in_order, structlog.processors.JSONRenderer()]


def _for_people(redactor: Redactor) -> list[Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [structlog.processors.format_exc_info, redactor, console]


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{key: event[key] for key in _FIRST if key in event}, **event}


def _install(formatter: ProcessorFormatter) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, ProcessorFormatter):
            root.removeHandler(handler)
    handler = logging.StreamHandler(LogStream(sys.stderr, _tell_lost))
    handler.setFormatter(formatter)
    handler.addFilter(LogThrottle("aiokafka"))  # it complains every 0.1 s while a broker is away
    root.addHandler(handler)
    logging.captureWarnings(capture=True)


def _tell_lost(lines: int) -> None:
    log.warning(log_events.LOG_LINES_DROPPED, lines=lines)


def _set_levels(level: int) -> None:
    """Let ours speak from ``level`` on, libraries from WARNING on.

    Below INFO they print frames and requests, in which credentials stand cut or encoded past recognition.
    """
    logging.getLogger().setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
