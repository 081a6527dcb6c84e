"""Random histories of volumes and snapshots, run beside the reference model.

`EBSIM_TEST_PROFILE=long` searches at random and for long; the default is the same 60 histories in
every run. Those with compactions, encryption, rebuilds and managed volumes are searched beside.
"""

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ebsim.testing.histories import StoreHistory

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


@pytest.mark.slow
def test_histories_equal_the_model() -> None:
    examples = settings().max_examples if LONG else 60
    run_state_machine_as_test(StoreHistory, settings=settings(max_examples=examples))
