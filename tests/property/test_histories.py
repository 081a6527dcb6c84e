"""Random histories of volumes and snapshots, run beside the reference model.

`EBSIM_TEST_PROFILE=long` searches at random and for long; the default is the same in every run.
"""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from ebsim.testing.histories import StoreHistory


@pytest.mark.slow
def test_histories_equal_the_model() -> None:
    run_state_machine_as_test(StoreHistory)
