"""Durable bytes: the only layer that knows files, syncs and LMDB."""
