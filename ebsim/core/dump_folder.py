"""Dumping a folder of files, some kinds of which have records."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ebsim.core.dump_items import DumpItem
from ebsim.storage.files import File, Files


def dump_folder(
    files: Files,
    folder: Path,
    kind: str,
    records: Mapping[str, Callable[[str, File], Iterator[DumpItem]]],
) -> Iterator[DumpItem]:
    """Yield what lies in a folder, file by file; nothing where it is missing.

    Args:
        files: Where it lies.
        folder: The folder.
        kind: What each file is called.
        records: By the ending of a name, what yields such a file's records, given its stem.
    """
    try:
        names = sorted(files.list(folder))
    except FileNotFoundError:
        return
    for name in names:
        path = folder / name
        item: DumpItem = {"Kind": kind, "File": name}
        try:
            file = files.open(path)
        except OSError as error:
            yield {**item, "Damaged": str(error.strerror)}
            continue
        try:
            yield {
                **item,
                "SizeInBytes": file.size(),
                "AllocatedSizeInBytes": files.allocated_bytes(path),
            }
            if path.suffix in records:
                yield from records[path.suffix](path.stem, file)
        finally:
            file.close()
