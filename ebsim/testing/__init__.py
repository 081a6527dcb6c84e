"""What tests of ebsim, and of programs that use it, are made of (docs/harness.md).

harness, pytest_plugin   a store that is thrown away, with its clock and its faults; fixtures
faults, held_copies      snapshots that wait or fail, disks that are full or fail
sources, seams           volumes in memory, time and randomness that a test holds
model, invariants        the specification as a program, and the comparison of a store with it
histories, strategies    random histories beside the model; they need hypothesis
account_histories        the same for several accounts, beside rights_model
numbered_writes          proof of points in time
"""
