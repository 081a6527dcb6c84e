"""The endpoint of a test goes on with what others leave, as that of `ebsim serve` does."""

import threading

import pytest

pytest.importorskip("boto3")

from ebsim.results import SnapshotState
from ebsim.server import caretaker
from ebsim.testing.aws import running_endpoint
from ebsim.testing.harness import Harness
from ebsim.volumes.operations import VolumeOperations


def caretakers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "ebsim-caretaker"]


def test_endpoint_of_a_test_looks_after_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, by the object that `ebsim serve` uses, and not behind its end."""
    seen: list[bool] = []
    looked = threading.Event()
    resume = VolumeOperations.resume

    def watched(volumes: VolumeOperations, *, everything: bool = True) -> None:
        resume(volumes, everything=everything)
        seen.append(everything)
        if True in seen and False in seen:
            looked.set()

    monkeypatch.setattr(caretaker, "LOOK_S", 0.001)
    monkeypatch.setattr(caretaker, "LOOKS_AT_ALL", 2)
    monkeypatch.setattr(VolumeOperations, "resume", watched)
    with Harness() as harness, running_endpoint(harness.store, harness.faults) as endpoint:
        assert looked.wait(60)
        ec2, volume = endpoint.client("ec2"), harness.new_volume().volume_id
        with endpoint.hold_snapshots():
            held = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
            looked.clear()
            assert looked.wait(60)
            assert harness.store.get_snapshot(held).state is SnapshotState.PENDING
        (made,) = harness.store.wait_snapshots([held])
        assert made.state is SnapshotState.COMPLETED
        assert len(caretakers()) == 1
    assert not caretakers()
