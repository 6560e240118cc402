"""The service as a process: its settings, logs, loop and exit code, and nothing of the other commands.

``aries-bridge run`` comes here without them: importing them costs a tenth of its start.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import structlog
import uvloop

import bridge
from bridge import settings
from bridge.app import serve
from bridge.errors import BridgeError
from bridge.observability import log_config as logs
from bridge.observability import log_events
from bridge.settings.warnings import warnings

#: How long threads may take to end when all is done.
LEAVE_SECONDS = 2.0


def run() -> int:
    """Run the service until it ends, and return its exit code; raise ``SettingsError`` where it cannot begin."""
    loaded = settings.load()
    redactor = logs.configure(loaded.bridge_log_level, loaded.bridge_log_format, loaded.secrets)
    log = structlog.get_logger(__name__)
    for warning in warnings(loaded):
        log.warning(log_events.SETTINGS_WARNING, warning=warning)
    log.info(log_events.STARTING, version=bridge.__version__, instance=loaded.bridge_instance)
    code = 0
    # A full collection looks at every object there is: for milliseconds, at what was imported and will never go.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(loaded, redactor))
        except BridgeError as error:
            log.critical(log_events.FATAL_ERROR, problem=str(error), exit_code=error.exit_code)
            code = error.exit_code
        _wait_for_no_thread(code)
    return code


def _wait_for_no_thread(code: int) -> None:
    """End the process soon, though a thread hangs in a look-up of the DNS or in a file: loop and interpreter wait."""
    exiting = threading.Timer(LEAVE_SECONDS, os._exit, (code,))
    exiting.daemon = True
    exiting.start()
