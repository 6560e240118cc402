"""Log configuration: JSON objects or readable lines on standard error, for our loggers and those of libraries.

Each record takes one way: logger, level, throttle, format, redaction, limit of its length, text, queue, thread,
standard error.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

from bridge.observability import log_limit
from bridge.observability.log_queue import LogQueue
from bridge.observability.log_throttle import LogThrottle
from bridge.secrets.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

    from bridge.secrets.secret import Secret

_FIRST_KEYS = ("timestamp", "level", "severity", "logger", "event")
#: Levels as Google Cloud names them; it takes all others for DEFAULT.
_SEVERITIES = {name: name.upper() for name in ("debug", "info", "warning", "error", "critical")}
_LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "boto3", "botocore", "urllib3", "watchfiles", "websockets")


def configure(level: str, fmt: Literal["json", "console"], secrets: Iterable[Secret] = ()) -> Redactor:
    """Send logs to standard error; return the redactor that keeps secrets out of them."""
    redactor = Redactor(secrets)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *common, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last = _json(redactor) if fmt == "json" else _console(redactor)
    _install(
        ProcessorFormatter(foreign_pre_chain=common, processors=[ProcessorFormatter.remove_processors_meta, *last])
    )
    _set_levels(logging.getLevelNamesMapping()[level])
    return redactor


def _json(redactor: Redactor) -> list[Processor]:
    # Without local variables: they hold secrets in forms that redaction does not know.
    exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [exceptions, _redact_with(redactor), _add_severity, _first_keys_first, _as_json]


def _console(redactor: Redactor) -> list[Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),  # no-color.org
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [structlog.processors.format_exc_info, _redact_with(redactor), _limit, console]


def _redact_with(redactor: Redactor) -> Processor:
    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return redactor.redact_document(event)

    return redact


def _add_severity(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, "severity": _SEVERITIES.get(str(event.get("level")), "DEFAULT")}


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return log_limit.render(event)


def _limit(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**log_limit.limited(event)}


def _first_keys_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{key: event[key] for key in _FIRST_KEYS if key in event}, **event}


def _install(formatter: logging.Formatter) -> None:
    """Replace the handler of an earlier configuration, if any."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, LogQueue):
            root.removeHandler(handler)
            handler.close()
    log_queue = LogQueue(sys.stderr, formatter)
    log_queue.addFilter(LogThrottle("aiokafka"))  # it logs the same warning every 0.1 s while a broker is down
    root.addHandler(log_queue)
    logging.captureWarnings(capture=True)


def _set_levels(level: int) -> None:
    """Log our own events from ``level`` on, those of libraries from WARNING on (INFO if ``level`` is DEBUG).

    Below INFO, libraries print frames and requests with credentials cut or encoded in ways that redaction cannot find.
    """
    logging.getLogger().setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
