"""Loading at a bounded rate."""

import pytest

from ebsim.units import MIB
from ebsim.volumes.loading import Pace


@pytest.mark.parametrize("rate", [1, 100, 300])
def test_pace_waits_until_what_was_handled_is_due(rate: int) -> None:
    now = [5.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(rate, wait, lambda: now[0])
    for _ in range(50):
        pace.handled(10 * MIB)
    assert now[0] - 5.0 == pytest.approx(500 / rate)


def test_pace_does_not_wait_for_who_is_slow() -> None:
    now = [0.0]
    waited: list[float] = []
    pace = Pace(100, waited.append, lambda: now[0])
    for _ in range(10):
        pace.handled(MIB)
        now[0] += 1.0
    assert len(waited) == 1, "only before any time had passed"


def test_no_rate_is_no_bound() -> None:
    waited: list[float] = []
    Pace(0, waited.append, lambda: 0.0).handled(1 << 40)
    assert waited == []
