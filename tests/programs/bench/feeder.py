"""The Aries server of the benchmark: ``python -m tests.programs.bench.feeder FOLDER LINES_PER_FRAME [CERTIFICATE]``.

It is a server of the least cost. It accepts a session in either dialect, and on the word ``go`` writes ready-made
frames: one system call for many of them. ``go 10000`` offers frames at 10,000 lines a second, ``loop 10000 60`` does
so for 60 s, over and over.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import ssl
import sys
import time
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

#: The bytes of one write at full speed.
CHUNK_BYTES: Final = 1 << 18
#: How often frames are written at a given rate.
TICK_SECONDS: Final = 0.001
#: Without a request for this time, the client is taken to have subscribed to everything.
QUIET_SECONDS: Final = 0.3


class Conversation:
    """One client's connection; its requests are answered before and between frames."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._protocol = ServerProtocol()
        self.subscribed = False
        self.open = True

    def hear(self, seconds: float) -> bool:
        """Wait for a request, answer it, and return whether there was one before the timeout."""
        if not self.open or not (self._has_decrypted or select.select([self._connection], [], [], seconds)[0]):
            return False
        data = self._connection.recv(1 << 16)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
            self.open = False
        for event in self._protocol.events_received():
            self._answer(event)
        self._flush()
        if self._protocol.close_expected():
            self.open = False
        return True

    @property
    def _has_decrypted(self) -> bool:
        """Return whether bytes were read and decrypted that were not taken yet: these wake no ``select``."""
        return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0

    def write(self, frames: memoryview) -> None:
        """Write whole frames; wait while the client does not read."""
        self._connection.sendall(frames)

    def _answer(self, event: object) -> None:
        if isinstance(event, Request):
            self._protocol.send_response(self._protocol.accept(event))
        elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
            for document in self._answers(json.loads(bytes(event.data))):
                self._protocol.send_text(json.dumps(document).encode())

    def _answers(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        request_id = said.get("id")
        match said:
            case {"action": ("auth" | "subscribe") as action}:
                self.subscribed |= action == "subscribe"
                return [{"action": action, "message": "success"}]
            case {"action": "ping"}:
                return [{"action": "ping", "message": "pong"}]
            case {"type": "request"}:
                payload = {"action": "authSuccess", "id": request_id, "data": {"expiresIn": 2_700_000}}
                return [{"type": "event", "payload": payload}]
            case {"type": "subscribe"}:
                self.subscribed = True
                return [{"type": "response", "id": request_id, "payload": {"status": "success"}}]
            case {"type": "ping"}:
                return [{"type": "pong", "id": request_id}]
        return []

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._connection.sendall(data)


class Frames:
    """The frames of a saved feed."""

    def __init__(self, folder: Path) -> None:
        self._wire = memoryview((folder / "wire").read_bytes())
        self.ends = array("Q")
        self.ends.frombytes((folder / "ends").read_bytes())

    def __len__(self) -> int:
        return len(self.ends)

    def between(self, first: int, last: int) -> memoryview:
        """Return the bytes of a range of frames."""
        start = self.ends[first - 1] if first else 0
        return self._wire[start : self.ends[last - 1]]

    def next_chunk(self, first: int) -> int:
        """Return the end of the chunk that starts with this frame."""
        start = self.ends[first - 1] if first else 0
        return max(first + 1, bisect_right(self.ends, start + CHUNK_BYTES))


def write_all(conversation: Conversation, frames: Frames) -> float:
    """Write everything as fast as it is read; return a lateness of 0."""
    first = 0
    while first < len(frames) and conversation.open:
        last = frames.next_chunk(first)
        conversation.write(frames.between(first, last))
        conversation.hear(0)
        first = last
    return 0.0


def offer(conversation: Conversation, frames: Frames, frames_per_second: float, count: int) -> float:
    """Write frames at a rate, repeating the feed; return the greatest lateness in seconds."""
    started = time.monotonic()
    told, late = 0, 0.0
    while told < count and conversation.open:
        due = min(count, int((time.monotonic() - started) * frames_per_second))
        while told < due:
            place = told % len(frames)
            last = min(len(frames), place + due - told)
            conversation.write(frames.between(place, last))
            told += last - place
        late = max(late, time.monotonic() - started - due / frames_per_second)
        conversation.hear(0)
        time.sleep(TICK_SECONDS)
    return late


def obey(word: str, conversation: Conversation, frames: Frames, lines_per_frame: int) -> float:
    """Run a command: ``go``, ``go LINES_PER_SECOND``, ``loop LINES_PER_SECOND SECONDS``."""
    match word.split():
        case ["go"]:
            return write_all(conversation, frames)
        case ["go", rate]:
            return offer(conversation, frames, float(rate) / lines_per_frame, len(frames))
        case ["loop", rate, seconds]:
            frames_per_second = float(rate) / lines_per_frame
            return offer(conversation, frames, frames_per_second, round(frames_per_second * float(seconds)))
    raise ValueError(f"{word!r} is no word of the feeder's")


def main(folder: Path, lines_per_frame: int, certificate: str | None = None) -> None:
    """Serve one client until it disconnects, over TLS if there is a certificate with its key."""
    frames = Frames(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell(port=listener.getsockname()[1])
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        connection = context.wrap_socket(connection, server_side=True)
    with connection:
        conversation = Conversation(connection)
        while conversation.hear(QUIET_SECONDS) or (conversation.open and not conversation.subscribed):
            pass
        tell(subscribed=True)
        word = await_word(conversation)
        before, started = cpu_seconds(), time.monotonic()
        late = obey(word, conversation, frames, lines_per_frame)
        tell(
            seconds=time.monotonic() - started,
            cpu_seconds=cpu_seconds() - before,
            late_seconds=late,
            sent_at=time.monotonic(),
        )
        while conversation.open:
            conversation.hear(1.0)


def await_word(conversation: Conversation) -> str:
    """Wait for a command on standard input, and answer the client meanwhile."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        conversation.hear(0.01)
    return sys.stdin.readline().strip()


def cpu_seconds() -> float:
    """Return the user and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tell(**facts: object) -> None:
    """Write one document."""
    print(json.dumps(facts), flush=True)  # noqa: T201 - its answers


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
