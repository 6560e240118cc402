"""The application of faults to the server and to its sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.simulator import faults
from bridge.simulator.shared_state import ServerEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.simulator.fault_script import Step
    from bridge.simulator.market_data_stream import MarketDataStream
    from bridge.simulator.market_feed import MarketFeed
    from bridge.simulator.server_session import ServerSession
    from bridge.simulator.shared_state import SharedState

_BAD_FRAMES: Final[dict[faults.BadFrameType, bytes]] = {
    "compressed": b"\xc1\x05hello",  # RSV1, although no extension was negotiated
    "masked": b"\x81\x82\x00\x00\x00\x00{}",  # a server must not mask
    "opcode": b"\x83\x00",  # 3 is reserved
    "long_ping": b"\x89\x7e\x00\x7e" + b"x" * 126,  # a control frame holds at most 125 bytes
}
_NOT_UTF8: Final = b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"\xff\xfe"}}}'


class FaultInjector:
    """The applier of faults to one simulator."""

    def __init__(self, state: SharedState, feed: MarketFeed, sessions: Sequence[ServerSession]) -> None:
        self._state = state
        self._feed = feed
        self._sessions = sessions

    async def run_step(self, step: Step) -> None:
        """Inject a step's fault at its time, and then at its interval."""
        await asyncio.sleep(step.at_seconds)
        self.inject(step.fault)
        while step.every_seconds is not None:
            await asyncio.sleep(step.every_seconds)
            self.inject(step.fault)

    def inject(self, fault: faults.Fault, sessions: Sequence[ServerSession] = ()) -> None:
        """Apply a fault: one of a session to these sessions, or else to all."""
        self._state.on_event(ServerEvent("fault", None, fault.script_name))
        match fault:
            case faults.LastingFault():
                self._state.active_faults.add(fault)
            case faults.SessionFault():
                for session in sessions or tuple(self._sessions):
                    _apply_to_session(fault, session)
            case _:
                self._apply_to_server(fault)
        self._state.changes.notify()

    def _apply_to_server(self, fault: faults.Fault) -> None:
        match fault:
            case faults.Heal():
                self._state.active_faults.clear()
            case faults.AcceptTokens(tokens=tokens):
                self._state.tokens.accept(*tokens)
            case faults.RefuseTokens(tokens=tokens):
                self._state.tokens.reject(*tokens)
            case faults.Burst(events=events):
                self._feed.generate(events)
            case faults.SetMarket(status=market_state):
                self._feed.set_market(market_state)
            case _:
                raise NotImplementedError(fault.script_name)


def _apply_to_session(fault: faults.SessionFault, session: ServerSession) -> None:
    match fault:
        case faults.Expire(warning_seconds=seconds, close=close):
            session.expire(seconds, close=close)
        case faults.ForgetAuth():
            session.revoke_auth()
        case faults.ServerPing(id=request_id, count=count):
            for _ in range(count):
                session.send_ping(request_id)
        case faults.Close(code=code, reason=reason):
            session.close(code, reason)
        case faults.Drop(reset=reset):
            session.connection.drop(reset=reset)
        case faults.BadFrame(how=frame_type):
            session.connection.write_raw(_BAD_FRAMES[frame_type])
        case _:
            _send_faulty_data(fault, session.stream)


def _send_faulty_data(fault: faults.SessionFault, stream: MarketDataStream) -> None:
    match fault:
        case faults.NotUtf8():
            stream.send_frame(_NOT_UTF8)
        case faults.GiantFrame(size_bytes=size_bytes):
            stream.send_frame(_padded_update(size_bytes))
        case faults.Garbage(line=line):
            stream.send_between_events(line.encode())
        case faults.UnknownKind(kind=update_type, symbol=symbol, fields=fields):
            stream.send_update(update_type, symbol, fields)
        case faults.UnknownField(name=name, value=value):
            stream.send_event_with_fields({name: value})
        case _:
            raise NotImplementedError(fault.script_name)


def _padded_update(size_bytes: int) -> bytes:
    head, tail = b'{"type":"event","payload":{"action":"update","type":"padding","data":"', b'"}}'
    return head + b"x" * (size_bytes - len(head) - len(tail)) + tail
