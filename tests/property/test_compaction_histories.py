"""Random histories in which segments are compacted between, and the model knows nothing of it.

By default they are 50, the same in every run; `EBSIM_TEST_PROFILE=long` takes a thousand at random.
"""

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import rule, run_state_machine_as_test

from ebsim.engine import Store
from ebsim.testing.histories import StoreHistory
from ebsim.testing.invariants import assert_healthy

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


class CompactedHistory(StoreHistory):
    """A history in which what is planned is done, and changes nothing that a user can see."""

    @rule()
    def compact(self) -> None:
        """Compact what other processes left; this one may append to its own segments."""
        stats = self.store.stats()
        before = (self.store.list_snapshots(), self.store.ledger())
        planned = self.store.compact(dry_run=True)
        done = self.store.compact()
        assert (done.compacted, done.damaged) == (planned.compacted, ())
        assert (self.store.list_snapshots(), self.store.ledger()) == before
        after = self.store.stats()
        assert after.live_size_bytes == stats.live_size_bytes
        assert after.segments <= stats.segments - len(done.compacted) + bool(done.compacted)
        assert after.stored_size_bytes <= stats.stored_size_bytes
        assert_healthy(self.store)

    @rule()
    def reopen_and_compact(self) -> None:
        """Close the store first, so that everything is sealed; then once is enough."""
        self.reopen()
        self.compact()
        self.reopen()
        assert self.store.compact(dry_run=True).compacted == ()

    def teardown(self) -> None:
        """Look at the end that all is sound after a last compaction."""
        self.store.close()
        with Store.open(self.folder / "store", self.seams) as store:
            store.compact()
            assert_healthy(store, orphan_bytes_max=0)
        super().teardown()


@pytest.mark.slow
def test_histories_with_compactions_equal_the_model() -> None:
    examples = settings().max_examples if LONG else 50
    run_state_machine_as_test(CompactedHistory, settings=settings(max_examples=examples))
