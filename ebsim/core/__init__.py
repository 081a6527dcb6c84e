"""What snapshots mean: one module per family of operations."""
