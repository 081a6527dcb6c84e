"""Changing what an account has set for a Region."""

from collections.abc import Callable
from dataclasses import asdict

from ebsim.core.account_settings import load_settings
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.format.account_records import AccountSettings, encode_settings, settings_key
from ebsim.format.catalog_values import Table


def change_settings(
    context: StoreContext, change: Callable[[AccountSettings], AccountSettings]
) -> AccountSettings:
    """Change what the caller has set for its Region, and return it.

    Raises:
        StoreError, LimitExceededError: A write failed.
        EbsimError: What `change` refuses; nothing is changed.
    """
    caller = context.acting

    def run(commit: JournaledCommit) -> AccountSettings:
        changed = change(load_settings(commit.writer, caller))
        commit.writer.put(Table.ACCOUNTS, settings_key(caller), encode_settings(changed))
        commit.journal("settings", {"settings": asdict(changed)})
        return changed

    with writing(context):
        with context.catalog.read() as reader:  # refused before anything is written
            change(load_settings(reader, caller))
        return commit_journaled(context, run)
