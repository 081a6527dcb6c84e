"""What the server of processes does once, so that none of those it forks needs to.

Nothing here opens a catalog or starts a thread: neither survives a fork.
"""

import gc

import ebsim.testing.torture.disk_worker
import ebsim.testing.torture.process_preload
import ebsim.testing.torture.served_disk
import ebsim.testing.traced_play
import ebsim.testing.worker  # noqa: F401 - it is enough that they were imported
from ebsim.testing.contents import palette_block
from ebsim.testing.forked_play import import_everything

NOISE = range(4, 105, 4)
"""The contents that take time to make."""

import_everything()
WARM = [palette_block(number) for number in NOISE]
"""Made once, and shared by all processes."""

gc.freeze()  # a child that collects garbage need not look at what is never any
