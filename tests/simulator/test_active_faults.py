from __future__ import annotations

from bridge.simulator.active_faults import ActiveFaults
from bridge.simulator.faults import Http, NoAcks, RefuseAuth, Silence


class FakeClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_fault_ends_after_its_seconds() -> None:
    """A fault with a duration ends after it; a fault without one does not."""
    clock = FakeClock()
    active = ActiveFaults(clock)
    active.add(Silence(for_seconds=20))
    active.add(NoAcks())
    clock.now += 19.9
    assert active.find(Silence) == Silence(for_seconds=20)
    clock.now += 0.1
    assert active.find(Silence) is None
    assert active.find(NoAcks) == NoAcks()


def test_a_fault_applies_a_number_of_times() -> None:
    """Taking a fault uses up one of its times, and finding it does not."""
    active = ActiveFaults(FakeClock())
    active.add(RefuseAuth(times=2))
    assert active.find(RefuseAuth)
    assert [active.take(RefuseAuth) is None for _ in range(3)] == [False, False, True]


def test_faults_of_one_type_apply_in_order() -> None:
    """The first fault that matches is taken, and those that do not match stay active."""
    active = ActiveFaults(FakeClock())
    for status, path in ((404, "/a"), (429, None), (503, None)):
        active.add(Http(status=status, path=path, times=1))
    taken = [active.take(Http, lambda fault: fault.path in (None, "/b")) for _ in range(3)]
    assert [fault and fault.status for fault in taken] == [429, 503, None]
    assert active.find(Http) == Http(status=404, path="/a", times=1)


def test_clearing_ends_all() -> None:
    """After clearing, no fault is active."""
    active = ActiveFaults(FakeClock())
    active.add(Silence())
    active.clear()
    assert active.find(Silence) is None
