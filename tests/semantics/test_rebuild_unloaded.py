"""Volumes made from what their snapshots cannot start from, not yet loaded, and a rebuilt catalog.

The first snapshot of such a volume is full (semantics sections 11.2 and 11.5), also after
a rebuild.
"""

from itertools import count
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.permissions import PermissionChange
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of

FRIEND = "111122223333"


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("how", ["another key", "another account"])
def test_first_snapshot_is_whole_after_a_rebuild(fast_path: Path, how: str, touched: bool) -> None:
    numbers = count()

    def seams() -> Seams:
        return Seams(clock=ManualClock(), entropy=SeededEntropy(next(numbers)))

    account = FRIEND if how == "another account" else None
    encrypted = True if how == "another key" else None
    path = fast_path / "store"
    with Store.create(path, seams()) as store:
        origin = store.create_snapshot(disk_of(NOISE, TEXT, name="memory:disk")).snapshot_id
        store.permissions.modify(origin, PermissionChange(add=(FRIEND,)))
        mine = store.as_account(account)
        request = VolumeRequest(snapshot_id=origin, encrypted=encrypted)
        volume = mine.volumes.create(request).volume_id
        if touched:
            with mine.volumes.open(volume) as file:
                file.pread(1, 0)

    Store.rebuild(path, seams())

    with Store.open(path, seams()) as store:
        mine = store.as_account(account)
        made = mine.create_snapshot(volume)
        (made,) = mine.wait_snapshots([made.snapshot_id])
        assert [mine.read_block(made.snapshot_id, index) for index in range(2)] == [NOISE, TEXT]
        assert_healthy(store)
