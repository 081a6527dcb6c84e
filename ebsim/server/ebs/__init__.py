"""The EBS direct APIs: snapshots, block by block."""
