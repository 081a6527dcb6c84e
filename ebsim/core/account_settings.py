"""What accounts have set for their Regions, as the catalog has it."""

from ebsim.caller import Caller
from ebsim.format.account_records import AccountSettings, decode_settings, settings_key
from ebsim.format.catalog_values import Table
from ebsim.storage.catalog import CatalogReader


def load_settings(reader: CatalogReader, caller: Caller) -> AccountSettings:
    """Return what an account has set for a Region; EC2's defaults until it sets something.

    Raises:
        CorruptionError: The catalog holds something else.
    """
    value = reader.get(Table.ACCOUNTS, settings_key(caller))
    if value is None:
        return AccountSettings(account=caller.account, region=caller.region)
    return decode_settings(value)
