"""What `Store.blocks.read` returns stays as it is while other blocks are read."""

import random

import pytest

from ebsim.requests import VolumeRequest
from ebsim.testing.harness import Harness
from ebsim.units import BLOCK_SIZE

NOISE = [random.Random(seed).randbytes(BLOCK_SIZE) for seed in (1, 2)]
TEXT = [word * (BLOCK_SIZE // len(word)) for word in (b"one ", b"two ")]


@pytest.mark.parametrize("encrypted", [False, True])
def test_blocks_that_were_read_stay_as_they_are(encrypted: bool) -> None:
    blocks = [*NOISE, *TEXT]
    with Harness() as harness:
        store = harness.store
        volume = store.volumes.create(VolumeRequest(size_gib=1, encrypted=encrypted)).volume_id
        with store.volumes.open(volume) as file:
            file.pwrite(b"".join(blocks), 0)
        (made,) = store.create_snapshots([volume])
        store.wait_snapshots([made.snapshot_id])

        read = [store.blocks.read(made.snapshot_id, index) for index in range(len(blocks))]

        assert [bytes(each) for each in read] == blocks
