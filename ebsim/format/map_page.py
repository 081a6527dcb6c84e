"""Pages of 256 unsigned 64-bit numbers: the nodes of block maps and of the version table.

A block map is a persistent radix tree of four levels. A page of the lowest level (a *leaf*) holds
the version ids of 256 consecutive blocks (128 MiB of a volume); a page above holds the page ids of
256 pages. 0 means: nothing here. Snapshots share the pages that did not change, so two maps are
compared by page ids first. Four levels reach 2^32 blocks, 2 PiB.

On disk a page is the difference from entry to entry, byte-transposed and zstd-compressed: version
ids mostly count upwards, so 2048 bytes become 25 to 1300 (decision 001). In memory it is a numpy
array, little-endian, compared and gathered without a loop in Python.
"""

import numpy as np
import numpy.typing as npt
import zstandard

from ebsim.errors import CorruptionError, ErrorCode

PAGE_ENTRIES = 256
MAP_LEVELS = 4
_PAGE_BYTES = PAGE_ENTRIES * 8
_COMPRESSION_LEVEL = 1

Page = npt.NDArray[np.uint64]


def empty_page() -> Page:
    """Return a page of zeros."""
    return np.zeros(PAGE_ENTRIES, dtype="<u8")


def encode_numbers(numbers: Page) -> bytes:
    """Return any array of 64-bit numbers in the compressed form of a page."""
    steps = np.diff(numbers.astype("<u8", copy=False), prepend=np.uint64(0))
    transposed = steps.view(np.uint8).reshape(-1, 8).T.tobytes()
    return zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(transposed)


def decode_numbers(data: bytes, count_max: int) -> Page:
    """Return the array that `encode_numbers` made `data` of.

    Raises:
        CorruptionError: It is no such array, or holds more than `count_max` numbers.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 < size <= count_max * 8 or size % 8:
            raise CorruptionError("a page of a wrong size", ErrorCode.CORRUPT_CATALOG)
        raw = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptionError(f"no page: {error}", ErrorCode.CORRUPT_CATALOG) from None
    steps = np.frombuffer(raw, dtype=np.uint8).reshape(8, -1).T.copy().view("<u8").reshape(-1)
    return np.cumsum(steps, dtype=np.uint64)


def encode_page(page: Page) -> bytes:
    """Return a page as it is stored."""
    assert page.shape == (PAGE_ENTRIES,)
    return encode_numbers(page)


def decode_page(data: bytes) -> Page:
    """Return the page that `data` holds.

    Raises:
        CorruptionError: It is no page of 256 entries.
    """
    page = decode_numbers(data, PAGE_ENTRIES)
    if page.shape != (PAGE_ENTRIES,):
        raise CorruptionError("a page of a wrong size", ErrorCode.CORRUPT_CATALOG)
    return page
