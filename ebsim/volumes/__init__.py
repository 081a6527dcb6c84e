"""Managed volumes: live data that ebsim keeps, written to while snapshots are taken of them."""
