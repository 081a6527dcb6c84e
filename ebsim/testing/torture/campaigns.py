"""The campaigns there are, in the order in which they are run."""

from ebsim.testing.torture.block_writes import BlockWrites
from ebsim.testing.torture.campaign import Campaign
from ebsim.testing.torture.catalog_flips import CatalogFlips
from ebsim.testing.torture.failed_syncs import FailedSyncs
from ebsim.testing.torture.failpoints import Failpoints
from ebsim.testing.torture.kills import Kills
from ebsim.testing.torture.no_space import NoSpace
from ebsim.testing.torture.nonces import Nonces
from ebsim.testing.torture.power_cuts import PowerCuts
from ebsim.testing.torture.processes import Processes
from ebsim.testing.torture.rebuilds import Rebuilds
from ebsim.testing.torture.segment_flips import SegmentFlips
from ebsim.testing.torture.shutdowns import Shutdowns
from ebsim.testing.torture.sync_mutation import SyncMutation

ALL: tuple[Campaign, ...] = (
    Failpoints(),
    Kills(),
    Nonces(),
    PowerCuts(),
    BlockWrites(),
    Shutdowns(),
    FailedSyncs(),
    SyncMutation(),
    Processes(),
    NoSpace(),
    Rebuilds(),
    SegmentFlips(),
    CatalogFlips(),
)
