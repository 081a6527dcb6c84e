"""Rebuilding managed volumes: what the catalog knew of their live data, as far as files tell it.

Which blocks were written since the last snapshot is in the catalog alone. So every block that the
volume's file has counts as *maybe* written: the next snapshot compares it with its parent's. Of a
volume that is still being loaded, a block counts as loaded where no part of it is a hole of the
file; any other is loaded again. That one is in the map which the next snapshot starts from; where
it cannot start from there, the block counts as maybe written too.
"""

from dataclasses import replace

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.context import StoreContext
from ebsim.core.rebuild_journal import History
from ebsim.core.written_blocks import (
    Flags,
    LeafWrites,
    add_writes,
    all_flags,
    no_flags,
    pack_flags,
)
from ebsim.errors import StoreError
from ebsim.format.catalog_values import Table, pair_key
from ebsim.format.records import VolumeRecord, encode_volume
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import File
from ebsim.units import BLOCK_SIZE

_PAGE = 4096


def with_epochs(history: History, present: set[str]) -> History:
    """Return the history with what the files tell of volumes.

    Args:
        history: What the journal says.
        present: The names in the folder of live data.
    """
    volumes = {}
    for name, volume in history.volumes.items():
        changed = volume
        if volume.managed:
            epoch = max(volume.epoch, history.epochs.get(name, 0) + 1)
            has_data = volume.has_data or name in history.epochs or f"{name}.data" in present
            changed = replace(volume, epoch=epoch, has_data=has_data, copies=[])  # nobody makes any
        volumes[name] = changed
    return replace(history, volumes=volumes)


def suspect_everything(context: StoreContext, history: History, present: set[str]) -> None:
    """Have every block of every volume's file compared by the volume's next snapshot.

    Raises:
        StoreError, LimitExceededError: A file cannot be read, or the catalog not be written.
    """
    for volume in history.volumes.values():
        has_file = f"{volume.volume_id}.data" in present
        if volume.managed and (has_file or _inherits_nothing(volume)):
            _suspect(context, volume, has_file)


def _inherits_nothing(volume: VolumeRecord) -> bool:
    """Return whether a volume is loaded from a map that its snapshots cannot start from.

    It is another account's snapshot, or one under another key: what is not loaded yet must be in
    the next snapshot all the same.
    """
    return bool(volume.origin_hold) and not volume.lineage


def _suspect(context: StoreContext, volume: VolumeRecord, has_file: bool) -> None:
    loaded: dict[int, Flags] = {}
    if has_file and volume.origin_hold:
        path = context.volumes_folder / f"{volume.volume_id}.data"
        try:
            file = context.files.open(path)
            try:
                loaded = _loaded(context, volume, file)
            finally:
                file.close()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
    everything = _inherits_nothing(volume)
    leaves = range(-(-(volume.size_bytes // BLOCK_SIZE) // LEAF_BLOCKS))

    def change(writer: CatalogWriter) -> None:
        for leaf, local in loaded.items():
            writer.put(Table.VOLUME_LOADED, pair_key(volume.number, leaf), pack_flags(local))
        for leaf in leaves:
            maybe = all_flags() if everything else loaded.get(leaf, all_flags())
            add_writes(writer, volume.number, volume.epoch, leaf, LeafWrites(no_flags(), maybe))
        writer.put(Table.VOLUMES, volume.volume_id.encode(), encode_volume(volume))

    context.catalog.update(change)


def _loaded(context: StoreContext, volume: VolumeRecord, file: File) -> dict[int, Flags]:
    """Return, for each leaf of the map that a volume is loaded from, the blocks its file has."""
    found: dict[int, Flags] = {}
    size = file.size()
    with context.catalog.read() as reader:
        for leaf, page_id in walk_leaves(reader, volume.origin_root):
            local: Flags = np.asarray(load_page(reader, page_id)) == 0
            for place in np.flatnonzero(~local).tolist():
                local[place] = is_whole(file, size, leaf * LEAF_BLOCKS + place)
            found[leaf] = local
    return found


def is_whole(file: File, size: int, block: int) -> bool:
    """Return whether no page of a block of a volume's file is a hole.

    A block that was loaded, or written to since, has none: its zeros too are written.

    Args:
        file: The file.
        size: How long it is.
        block: The block.
    """
    start = block * BLOCK_SIZE
    if start + BLOCK_SIZE > size or file.is_hole(start, BLOCK_SIZE):
        return False
    pages = range(start, start + BLOCK_SIZE, _PAGE)
    return not any(file.is_hole(page, _PAGE) for page in pages)
