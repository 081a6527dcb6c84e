"""What the server of processes imports once, so that none of those it forks needs to.

Nothing here opens a catalog or starts a thread: neither survives a fork.
"""

import ebsim.core.abandon
import ebsim.core.bin_operations
import ebsim.core.burial
import ebsim.core.check
import ebsim.core.compact
import ebsim.core.copying
import ebsim.core.create
import ebsim.core.delete
import ebsim.core.key_operations
import ebsim.core.prune
import ebsim.core.read
import ebsim.core.recovery
import ebsim.core.restore
import ebsim.core.snapshot_queries
import ebsim.core.tier_operations
import ebsim.volumes.managed
import ebsim.volumes.operations
import ebsim.volumes.volume_file  # noqa: F401 - it is enough that they were imported
from ebsim.testing.contents import palette_block
from ebsim.testing.torture.process_life import PALETTE

WARM = [palette_block(number) for number in range(PALETTE)]
"""All contents, made once and shared by all processes."""
