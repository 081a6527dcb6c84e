"""Random histories in which the catalog is lost again and again, and rebuilt."""

import os
import shutil

import pytest
from hypothesis import settings
from hypothesis.stateful import rule, run_state_machine_as_test

from ebsim.engine import Store
from ebsim.testing.histories import StoreHistory


class RebuiltHistory(StoreHistory):
    """At every step the store equals the model, with the catalog that was made last."""

    @rule()
    def lose_the_catalog(self) -> None:
        """Lose it and make it again: only snapshots that failed are gone."""
        ledger = self.store.ledger()
        self.store.close()
        shutil.rmtree(self.folder / "store" / "catalog")
        report = Store.rebuild(self.folder / "store", self.seams)
        assert report.findings == ()
        assert report.unreadable_bytes == 0
        self.store = Store.open(self.folder / "store", self.seams)
        assert self.store.ledger() == ledger
        self.failed.clear()

    @rule()
    def compact(self) -> None:
        """Move what is live: the records of one thing may lie anywhere."""
        self.store.compact()


@pytest.mark.slow
def test_histories_with_rebuilds_equal_the_model() -> None:
    long = os.environ.get("EBSIM_TEST_PROFILE") == "long"
    examples = settings().max_examples if long else 30
    run_state_machine_as_test(RebuiltHistory, settings=settings(max_examples=examples))
