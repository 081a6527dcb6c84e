"""Which boot of the machine this is: what was written but not synced outlives only processes.

Asked instead of the wall clock, which no decision about safety may use.
"""

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return a text that is another after each boot; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
