"""Emptying the Recycle Bin for whoever uses the store next (`ebsim.core.bin_expiry` says what)."""

import logging

from ebsim.core.bin_stays import anything_due
from ebsim.core.context import StoreContext
from ebsim.errors import EbsimError, ErrorCode, StoreError

_log = logging.getLogger(__name__)


def empty_bin(context: StoreContext) -> None:
    """Delete for good what is due, so that nobody sees a charge that has ended.

    What cannot be done, because what goes is damaged or the disk is full, is logged and left to the
    next: it must not keep anybody from reading, repairing or deleting. A store that is open for
    reading only is left as it is.

    Raises:
        StoreError: A write failed, and the handle refuses to write from now on.
    """
    if context.catalog.read_only or context.poison:
        return
    try:
        if anything_due(context):
            from ebsim.core.bin_expiry import expire_due  # needs numpy, and is seldom needed

            expire_due(context)
    except StoreError as error:
        if error.code != ErrorCode.STORE_CLOSED:
            context.poison = str(error)
        raise
    except EbsimError as error:
        _log.warning("could not empty the Recycle Bin: %s", error)


def empty_bin_to_read(context: StoreContext) -> None:
    """Do the same for somebody who only reads, and goes on whatever fails."""
    try:
        empty_bin(context)
    except StoreError as error:
        _log.warning("could not empty the Recycle Bin: %s", error)
