"""Random histories over encrypted snapshots, run beside the reference model.

What a store says of sizes, charges and bytes is what it says unencrypted; but equal blocks are
stored once in each lineage, and not once in all (semantics section 11.5). Keys are rotated,
and taken away for a while, in which nothing can be read.

By default there are 30 histories, the same in every run; `EBSIM_TEST_PROFILE=long` takes a third of
its thousand, at random.
"""

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.testing.histories import StoreHistory
from ebsim.testing.model import ReferenceModel

KEY = "alias/k"


LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


class EncryptedHistory(StoreHistory):
    """A store whose caller has everything encrypted."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ReferenceModel(encrypted=True)
        self.store.keys.create(alias=KEY)
        self.store.encryption.modify_default_kms_key_id(KEY)
        self.store.encryption.enable_by_default()

    @rule()
    def rotate(self) -> None:
        """Give the key new material: nothing else changes, and the invariant reads everything."""
        self.store.keys.rotate(KEY)

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def take_the_keyring_away(self, data: st.DataObject) -> None:
        """Without the keyring nothing is read, and everything is proved as far as that goes."""
        wanted = self.draw_snapshot(data)
        place = self.folder / "store" / "keyring.json"
        away = place.rename(self.folder / "away.json")
        self.store.close()
        self.store = Store.open(self.folder / "store", self.seams)
        with pytest.raises(EbsimError) as caught:
            self.store.read_block(wanted, 0)
        assert caught.value.code is ErrorCode.KEYRING_NOT_FOUND
        report = self.store.check(data=True)
        assert {each.kind for each in report.findings} == {"missing-keyring"}
        assert report.coverage is not None
        assert report.coverage.sealed_blocks == len(self.model.stored_contents())
        away.rename(place)

    @precondition(lambda self: self.model.snapshots)
    @rule()
    def rebuild(self) -> None:
        """Make the catalog again."""
        self.store.close()
        report = Store.rebuild(self.folder / "store", self.seams)
        assert not report.findings
        self.store = Store.open(self.folder / "store", self.seams)
        self.failed.clear()  # a rebuild brings none of them back

    @rule()
    def compact(self) -> None:
        """Compact the store."""
        report = self.store.compact()
        assert (report.damaged, report.sealed_blocks) == ((), 0)


@pytest.mark.slow
def test_encrypted_histories_equal_the_model() -> None:
    examples = (
        settings().max_examples // 3 if LONG else 30
    )  # the unencrypted ones search as much again
    run_state_machine_as_test(EncryptedHistory, settings=settings(max_examples=examples))
