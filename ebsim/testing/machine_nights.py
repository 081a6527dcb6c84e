"""A simulated machine with some nights of snapshots behind it, on which something else then dies.

What a step is, and what a power cut forgets, is said in `ebsim.testing.machine`.
"""

from collections.abc import Sequence
from pathlib import Path

from ebsim.engine import Store
from ebsim.testing.contents import palette_block
from ebsim.testing.machine import Machine
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

WEB = "memory:web"


class MachineNights:
    """A machine, the snapshots of one disk, each taken by a process of its own, and the model.

    Args:
        folder: An existing folder of the real file system, for the lock file.
        nights: What the disk held in each: numbers of `palette_block`.

    Attributes:
        machine: The machine.
        model: What its store should be.
        ids: The snapshots, night by night.
    """

    def __init__(self, folder: Path, nights: Sequence[Sequence[int]]) -> None:
        self.machine = Machine(folder)
        self.model = ReferenceModel()
        self.model.add_volume(WEB, len(nights[0]) * BLOCK_SIZE)
        self.ids: list[str] = []
        for blocks in nights:
            with self.machine.start().open() as store:
                self.night(store, blocks)

    def night(self, store: Store, blocks: Sequence[int]) -> None:
        """Take a snapshot of the disk, which holds these blocks, in the model too."""
        source = disk_of(*(palette_block(number) for number in blocks), name=WEB)
        for index, number in enumerate(blocks):
            self.model.write(WEB, index, palette_block(number))
        self.ids.append(store.create_snapshot(source).snapshot_id)
        self.model.snapshot(WEB, self.ids[-1])
