"""Benchmarks: ebsim beside its peers, and how its costs grow. See benchmarks/README.md.

`python -m benchmarks` runs all of it. Nothing in `ebsim` imports this package.
"""
