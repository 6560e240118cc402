"""A connection that hands what it receives to the capture."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.aries.connection import Connection

if TYPE_CHECKING:
    from bridge.capture.recorder import Recorder

#: Requests without credentials, by their ``type`` or ``action``: these are captured whole, of all others the name only.
_CAPTURED_WHOLE = frozenset({"subscribe", "unsubscribe"})


def recorded(recorder: Recorder) -> type[Connection]:
    """Return a kind of connection that captures; a connection of the other kind pays nothing for this."""

    class RecordedConnection(Connection):
        """A connection whose frames are captured as they are extracted, once for each read."""

        _is_recorded = True

        def discard(self) -> None:
            """Discard messages from now on, and stop capturing: they are not processed."""
            self._is_recorded = False
            super().discard()

        def _extract(self, data: bytes, start: int) -> None:
            known = len(self._messages)
            super()._extract(data, start)
            if self._is_recorded and len(self._messages) > known:
                recorder.frames(tuple(islice(self._messages, known, None)))

        async def send(self, message: Any, *, text: bool | None = None) -> None:
            """Send a request, and capture which one it was."""
            await super().send(message, text=text)
            if isinstance(message, bytes):
                recorder.mark("sent", **describe_request(message))

    return RecordedConnection


def describe_request(frame: bytes) -> dict[str, object]:
    """Return what the capture shows of a request: its kind, and all of it if it holds no credentials."""
    request = msgspec.json.decode(frame)
    kind = request.get("action") or request.get("type")
    return {"kind": kind, "request": request} if kind in _CAPTURED_WHOLE else {"kind": kind}
