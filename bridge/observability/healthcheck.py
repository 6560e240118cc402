"""The image's health check: ``python -m bridge.observability.healthcheck`` requests ``/livez`` of the local bridge.

It imports nothing but the standard library, as it runs every few seconds beside the bridge.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 3.0
#: Addresses to listen on that cannot be connected to.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - looked up, not bound


def problem(environ: Mapping[str, str]) -> str | None:
    """Return what is wrong with the bridge that runs with this environment, or None."""
    host = environ.get("BRIDGE_HTTP_HOST") or "127.0.0.1"
    port = environ.get("BRIDGE_HTTP_PORT") or "8080"
    if not port.isdecimal():
        return f"BRIDGE_HTTP_PORT={port!r} is not a port number."
    connection = HTTPConnection(_LOOPBACK.get(host, host), int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    except (OSError, OverflowError, HTTPException) as error:
        return f"no response from the bridge at {host}:{port}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return None if response.status == 200 else f"the bridge is not alive ({response.status}): {body}"  # noqa: PLR2004 - OK


if __name__ == "__main__":
    sys.exit(problem(os.environ))
