"""Set up the logs: JSON objects or lines for people on standard error, without secrets."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

from bridge.hush import Hush
from bridge.settings.secret import REDACTED, SecretUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

    from bridge.settings.secret import Secret

_FIRST = ("timestamp", "level", "logger", "event")
_LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "watchfiles", "websockets")
#: A shorter word hides nothing, but would black out half the log.
_SHORTEST_SECRET = 4
#: Values that were secrets lately: a token is still one when it has just been replaced.
_REMEMBERED = 64


class Redactor:
    """Replace every known secret in whatever is logged.

    Secrets are read again for each event, as their files may change; tokens that come from elsewhere are
    told by :meth:`learn`.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets = tuple(secrets)
        self._values: deque[str] = deque(maxlen=_REMEMBERED)
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: str) -> None:
        """Redact this text, too, from now on."""
        if len(value) >= _SHORTEST_SECRET and value not in self._values:
            self._values.append(value)
            forms = {form for known in self._values for form in _forms(known)}
            self._pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))

    def redacted(self, text: str) -> str:
        """Return a text with every secret in it replaced."""
        for value in _current(self._secrets):
            self.learn(value)
        return self._replaced(text)

    def cleaned(self, document: Mapping[str, object]) -> dict[str, object]:
        """Return a document as JSON types with every secret in its texts replaced."""
        for value in _current(self._secrets):
            self.learn(value)
        return {key: self._clean(value) for key, value in document.items()}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return self.cleaned(event)

    def _replaced(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def _clean(self, value: object) -> object:
        """Return the value as JSON types, its texts redacted."""
        if isinstance(value, str):
            return self._replaced(value)
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self._replaced(str(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, Collection) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [self._clean(item) for item in value]
        return self._replaced(str(value) if isinstance(value, BaseException) else repr(value))


def _current(secrets: Iterable[Secret]) -> Iterator[str]:
    for secret in secrets:
        try:
            yield secret.reveal()
        except SecretUnreadable:  # whoever needs it says so; what is not known cannot be shown
            continue


def _forms(value: str) -> set[str]:
    """Return how a text can look inside another: plain, in a URL, in JSON, in a repr."""
    encoded = value.encode(errors="surrogateescape")  # what is not UTF-8 comes so from the environment
    return {value, quote(encoded, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1], repr(encoded)[2:-1]}


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(Hush("aiokafka"))  # it complains every 0.1 s while a broker is away
    root.addHandler(handler)
    logging.captureWarnings(capture=True)


def _set_levels(level: int) -> None:
    """Let ours speak from ``level`` on, libraries from WARNING on.

    Below INFO they print frames and requests, in which credentials stand cut or encoded past recognition.
    """
    logging.getLogger().setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
