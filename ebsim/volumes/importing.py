"""Importing an image: a managed volume with its content."""

from ebsim.progress import Progress
from ebsim.storage.sources import BlockSource
from ebsim.units import MIB
from ebsim.volumes.live_volume import LiveVolume

PIECE_SIZE = 4 * MIB


def copy_source(source: BlockSource, live: LiveVolume, progress: Progress) -> None:
    """Write what a source holds to a volume; its holes stay unwritten.

    Raises:
        SourceError: It cannot be read, or changed meanwhile.
        LimitExceededError, StoreError: The volume cannot be written.
    """
    buffer = memoryview(bytearray(PIECE_SIZE))
    progress.start(f"importing {source.identity}", source.size_bytes)
    position = 0
    try:
        for start, end in source.data_ranges(0, source.size_bytes):
            progress.advance(start - position)
            position = start
            while position < end:
                piece = buffer[: min(PIECE_SIZE - position % PIECE_SIZE, end - position)]
                source.read_into(position, piece)
                live.write(position, piece)
                position += len(piece)
                progress.advance(len(piece))
        source.ensure_unchanged()
    finally:
        progress.finish()
    live.flush()
