"""Random histories whose process is killed, or whose machine loses its power: samples of two
campaigns, and that they can fail."""

from pathlib import Path

import pytest

from ebsim.storage.segments import LocalSegmentWriter
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.kills import Kills
from ebsim.testing.torture.power_cuts import PowerCuts
from ebsim.volumes.intents import Intents
from ebsim.volumes.live_volume import LiveVolume

pytestmark = pytest.mark.crash


def run_cases(campaign: Kills | PowerCuts, folder: Path, numbers: range) -> int:
    with campaign.prepare(1, folder) as run_case:
        return sum(run_case(number) for number in numbers)


def test_killed_histories_lose_nothing(tmp_path: Path) -> None:
    """F1, F2, F3, F4, F5, F6, F62: a sample of the campaign `kills`."""
    assert run_cases(Kills(), tmp_path, range(10)) > 5


def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """F7, F8, F9: a sample of the campaign `power-cuts`."""
    assert run_cases(PowerCuts(), tmp_path, range(20)) == 20


def test_case_is_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One number repeats a violation, in every process."""
    monkeypatch.setattr(LocalSegmentWriter, "sync", lambda _self: None)
    told = set()
    for _ in range(2):
        with pytest.raises(Violation) as caught:
            run_cases(PowerCuts(), tmp_path, range(40))
        told.add(str(caught.value).partition(":")[0])
    assert len(told) == 1


def test_missing_copy_before_a_write_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveVolume, "_keep", lambda _self, _frozen, _block: None)
    with pytest.raises(Violation):
        run_cases(Kills(), tmp_path, range(200))


def test_missing_intent_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intents, "note", lambda _self, _leaf: None)
    with pytest.raises(Violation):
        run_cases(PowerCuts(), tmp_path, range(200))
