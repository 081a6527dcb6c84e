"""Torture: campaigns of numbered cases that try to make a store lose or alter a byte.

`python -m ebsim.testing.torture` runs them all, for about an hour; `make test` runs a sample.
"""
