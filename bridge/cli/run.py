"""``aries-bridge run``: the service as a process, with its settings, logs, event loop and exit code.

It imports nothing of the other commands, nor what only a setting needs: a gap in the data lasts until it has started.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from typing import TYPE_CHECKING

import structlog

import bridge
from bridge import log_events, settings
from bridge.app import serve
from bridge.network.event_loop import EventLoop
from bridge.observability import log_config as logs
from bridge.observability.unexpected_errors import install_hooks, log_loop_error, report_fatal
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from bridge.secrets.redaction import Redactor

#: How long threads may delay the exit.
EXIT_TIMEOUT_SECONDS = 2.0


def run() -> int:
    """Run the service until it ends, and return its exit code; raise SettingsError if the settings are invalid."""
    loaded = settings.load()
    redactor = logs.configure(loaded.bridge_log_level, loaded.bridge_log_format, loaded.secrets)
    log = structlog.get_logger(__name__)
    for warning in warnings(loaded):
        log.warning(log_events.SETTINGS_WARNING, warning=warning)
    log.info(log_events.STARTING, version=bridge.__version__, instance=loaded.bridge_instance, encoder=loaded.encoder)
    install_hooks()
    # Else each full garbage collection spends milliseconds on imported objects, which are never freed.
    gc.freeze()
    gc.enable()  # which `bridge.cli.main` disabled for the imports
    return _run_loop(loaded, redactor)


def _run_loop(loaded: settings.Settings, redactor: Redactor) -> int:
    """Serve in an event loop; whatever goes wrong is logged with all its causes and becomes the exit code."""
    code = 0
    try:
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            runner.get_loop().set_exception_handler(log_loop_error)
            try:
                runner.run(serve(loaded, redactor))
            except BaseException as error:  # noqa: BLE001 - nothing may leave as a raw traceback
                code = report_fatal(error)
            _limit_exit_time(code)
    except BaseException as error:  # noqa: BLE001 - the loop itself cannot be opened or closed
        closing_code = report_fatal(error)
        code = code or closing_code
        _limit_exit_time(code)
    return code


def _limit_exit_time(code: int) -> None:
    """Exit after a timeout even if a thread hangs in a DNS lookup or a file: event loop and interpreter wait for it."""
    exiting = threading.Timer(EXIT_TIMEOUT_SECONDS, os._exit, (code,))
    exiting.daemon = True
    try:
        exiting.start()
    except RuntimeError:  # no more threads: exit now, with what is logged
        logging.shutdown()
        os._exit(code)
