from __future__ import annotations

from bridge.simulator.faults import Http, NoAcks, RefuseAuth, Silence
from bridge.simulator.standing import Standing


class FakeClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_fault_lasts_its_seconds() -> None:
    """A fault with seconds is over after them, one without is not."""
    clock = FakeClock()
    standing = Standing(clock)
    standing.add(Silence(for_seconds=20))
    standing.add(NoAcks())
    clock.now += 19.9
    assert standing.find(Silence) == Silence(for_seconds=20)
    clock.now += 0.1
    assert standing.find(Silence) is None
    assert standing.find(NoAcks) == NoAcks()


def test_a_fault_strikes_so_many_times() -> None:
    """Looking at a fault is free, taking it uses it up."""
    standing = Standing(FakeClock())
    standing.add(RefuseAuth(times=2))
    assert standing.find(RefuseAuth)
    assert [standing.take(RefuseAuth) is None for _ in range(3)] == [False, False, True]


def test_faults_of_one_type_queue() -> None:
    """The first that fits strikes first, and those that do not fit are kept."""
    standing = Standing(FakeClock())
    for status, path in ((404, "/a"), (429, None), (503, None)):
        standing.add(Http(status=status, path=path, times=1))
    taken = [standing.take(Http, lambda fault: fault.path in (None, "/b")) for _ in range(3)]
    assert [fault and fault.status for fault in taken] == [429, 503, None]
    assert standing.find(Http) == Http(status=404, path="/a", times=1)


def test_clearing_ends_all() -> None:
    """After a clear no fault is in force."""
    standing = Standing(FakeClock())
    standing.add(Silence())
    standing.clear()
    assert standing.find(Silence) is None
