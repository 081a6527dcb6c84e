"""Volumes that begin with a few blocks of noise, each of which is another."""

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import noise_block
from ebsim.units import BLOCK_SIZE

BLOCKS = 4
"""How many blocks are looked at."""


def noise(first: int) -> list[bytes]:
    """Return blocks of noise, numbered from the first on."""
    return [noise_block(first + block) for block in range(BLOCKS)]


def write(store: Store, volume: str, *blocks: bytes) -> None:
    """Write blocks to the beginning of a volume."""
    with store.volumes.open(volume) as file:
        for index, block in enumerate(blocks):
            file.pwrite(block, index * BLOCK_SIZE)


def new_volume(store: Store, *blocks: bytes) -> str:
    """Return a volume of 1 GiB that begins with these blocks."""
    made = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    write(store, made, *blocks)
    return made


def content(store: Store, volume: str) -> list[bytes]:
    """Return the first blocks of a volume."""
    with store.volumes.open(volume) as file:
        return [file.pread(BLOCK_SIZE, index * BLOCK_SIZE) for index in range(BLOCKS)]
