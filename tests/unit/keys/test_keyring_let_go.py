"""A store that is closed has nothing of its keyring open, so that its file system can be left."""

import os
from pathlib import Path

from ebsim.engine import Store


def open_below(folder: Path) -> list[str]:
    """Return the files below a folder that this process has open."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if name.startswith(f"{folder}/"):
            names.append(name)
    return names


def test_closed_store_has_no_file_of_its_keyring_open(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    key = store.keys.create(alias="alias/A")
    assert store.keys.get("alias/A") == key

    store.close()

    assert open_below(tmp_path) == []
