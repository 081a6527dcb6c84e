"""Importing an image: a managed volume with its content."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ebsim import refusals
from ebsim.core.tag_rules import check_tags
from ebsim.core.volume_types import ensure_figures, validate_new
from ebsim.progress import Progress
from ebsim.requests import VolumeRequest
from ebsim.storage.freeze import open_point_in_time
from ebsim.storage.sources import BlockSource
from ebsim.units import MIB, size_gib
from ebsim.volumes.live_volume import LiveVolume

PIECE_SIZE = 4 * MIB


@contextmanager
def opened_image(
    image: Path, request: VolumeRequest, store_path: Path
) -> Iterator[tuple[BlockSource, VolumeRequest]]:
    """Return a context with an image, open, and the request with the size that the volume gets.

    Everything is refused here that can be without a store: who enters and leaves this first makes
    none for a request that is refused.

    Raises:
        NotFoundError, SourceError: The image is not there, or cannot be read.
        InvalidInputError: It does not fit, is a part of the store, or EC2 would refuse the volume.
    """
    ensure_figures(request)
    if request.snapshot_id:
        raise refusals.invalid_combination(
            "A volume is made of an image or of a snapshot, not of both."
        )
    with open_point_in_time(image, None, store_path) as source:
        wanted = size_gib(source.size_bytes)
        if request.size_gib is not None and request.size_gib < wanted:
            raise refusals.invalid_value(
                request.size_gib, "size", f"{source.identity} needs at least {wanted} GiB"
            )
        sized = replace(request, size_gib=request.size_gib or wanted)
        validate_new(sized)
        check_tags(sized.tags)
        yield source, sized


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
