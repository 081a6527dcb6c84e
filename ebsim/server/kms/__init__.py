"""KMS, as far as users of encrypted volumes and snapshots need it (semantics section 11.5)."""
