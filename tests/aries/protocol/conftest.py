"""The two dialects, for tests that hold in both."""

from __future__ import annotations

import pytest

from tests.aries.protocol.wire import ActionWire, EnvelopeWire, Wire


@pytest.fixture(params=[ActionWire(), EnvelopeWire()], ids=["action", "envelope"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Return the server's messages in each dialect."""
    messages: Wire = request.param
    return messages
