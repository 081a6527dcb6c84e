"""EC2's operations on volumes, snapshots and what belongs to them."""
