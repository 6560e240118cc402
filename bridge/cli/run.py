"""``aries-bridge run``: the service as a process, with its settings, logs, event loop and exit code.

It imports nothing of the other commands, which would add a tenth to its start time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import structlog
import uvloop

import bridge
from bridge import log_events, settings
from bridge.app import serve
from bridge.errors import BridgeError
from bridge.observability import log_config as logs
from bridge.settings.warnings import warnings

#: How long threads may delay the exit.
EXIT_TIMEOUT_SECONDS = 2.0


def run() -> int:
    """Run the service until it ends, and return its exit code; raise SettingsError if the settings are invalid."""
    loaded = settings.load()
    redactor = logs.configure(loaded.bridge_log_level, loaded.bridge_log_format, loaded.secrets)
    log = structlog.get_logger(__name__)
    for warning in warnings(loaded):
        log.warning(log_events.SETTINGS_WARNING, warning=warning)
    log.info(log_events.STARTING, version=bridge.__version__, instance=loaded.bridge_instance)
    code = 0
    # Else each full garbage collection spends milliseconds on imported objects, which are never freed.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(loaded, redactor))
        except BridgeError as error:
            log.critical(log_events.FATAL_ERROR, problem=str(error), exit_code=error.exit_code)
            code = error.exit_code
        _limit_exit_time(code)
    return code


def _limit_exit_time(code: int) -> None:
    """Exit after a timeout even if a thread hangs in a DNS lookup or a file: event loop and interpreter wait for it."""
    exiting = threading.Timer(EXIT_TIMEOUT_SECONDS, os._exit, (code,))
    exiting.daemon = True
    exiting.start()
