"""How fast this machine does what a block has to go through, on one core, nothing else at work."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash
import zstandard

from ebsim.format.block_hash import HASH_KEY_SIZE, hash_block
from ebsim.storage.buffers import block_buffer
from ebsim.units import BLOCK_SIZE

SAMPLES = 128
REPEATS = 3
"""The fastest counts: a limit is what the machine can do when nothing disturbs it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds a block, on one core.

    Attributes:
        sha256: The payload hash and checksum of EBS direct.
        compress: zstd, level 1.
        decompress: The same, back.
        block_hash: The hash that proves what is read.
        stored_check: The checksum of what is stored, of a compressed block.
        read_stored: Reading that, from the page cache.
        read_plain: Reading a block that is stored as it is.
        write: Writing a block to a new place of a file in the work folder.
        send: Sending a block over loopback to who throws it away.
        receive: Reading a block from loopback.
    """

    sha256: float
    compress: float
    decompress: float
    block_hash: float
    stored_check: float
    read_stored: float
    read_plain: float
    write: float
    send: float
    receive: float

    @property
    def get(self) -> float:
        """What GetSnapshotBlock must do with a compressed block."""
        return (
            self.read_stored
            + self.stored_check
            + self.decompress
            + self.block_hash
            + self.sha256
            + self.send
        )

    @property
    def get_plain(self) -> float:
        """What it must do with one that does not compress, and is stored as it is."""
        return self.get + self.read_plain - self.read_stored - self.decompress

    @property
    def put(self) -> float:
        """What PutSnapshotBlock must do with a block."""
        return self.receive + self.sha256 + self.write


def measure_parts(data: Path, folder: Path) -> Parts:
    """Measure the parts with the first blocks of a file."""
    with data.open("rb") as plain:
        return _measure(plain, folder)


def _measure(plain: BinaryIO, folder: Path) -> Parts:
    blocks = [plain.read(BLOCK_SIZE) for _ in range(SAMPLES)]
    buffer, key = block_buffer(), bytes(HASH_KEY_SIZE)
    compressor, decompressor = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    frames = [compressor.compress(block) for block in blocks]
    stored, new = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("stored", "new"))
    places = [BLOCK_SIZE * at for at in range(SAMPLES)]
    for frame, place in zip(frames, places, strict=True):
        os.pwrite(stored, frame, place)

    def decompress(at: int) -> None:
        with decompressor.stream_reader(frames[at], closefd=False) as reader:
            reader.readinto(buffer)

    def write(at: int) -> None:
        if at == 0:
            os.ftruncate(new, 0)
        os.pwrite(new, blocks[at], places[at])

    try:
        return Parts(
            sha256=_time(lambda at: hashlib.sha256(blocks[at]).digest()),
            compress=_time(lambda at: compressor.compress(blocks[at])),
            decompress=_time(decompress),
            block_hash=_time(lambda at: hash_block(blocks[at], key)),
            stored_check=_time(lambda at: xxhash.xxh3_128_digest(frames[at])),
            read_stored=_time(lambda at: os.pread(stored, len(frames[at]), places[at])),
            read_plain=_time(lambda at: os.pread(plain.fileno(), BLOCK_SIZE, places[at])),
            write=_time(write),
            send=_time_socket(blocks, sending=True),
            receive=_time_socket(blocks, sending=False),
        )
    finally:
        for opened in (stored, new):
            os.close(opened)


def _time(part: Callable[[int], object]) -> float:
    """Return the least seconds a block."""
    found = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for at in range(SAMPLES):
            part(at)
        found.append((time.process_time() - begin) / SAMPLES)
    return min(found)


def _time_socket(blocks: list[bytes], *, sending: bool) -> float:
    """Return the processor seconds a block of one end of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    used: list[float] = []

    def send() -> None:
        begin = time.thread_time()
        for block in blocks:
            near.sendall(block)
        if sending:
            used.append(time.thread_time() - begin)
        near.shutdown(socket.SHUT_WR)

    def receive(flags: int) -> None:
        scratch = bytearray(BLOCK_SIZE)
        begin = time.thread_time()
        while far.recv_into(scratch, BLOCK_SIZE, flags):
            pass
        if not sending:
            used.append(time.thread_time() - begin)

    with near, far:
        sender = threading.Thread(target=send)
        sender.start()
        receive(socket.MSG_TRUNC if sending else 0)
        sender.join()
    return used[0] / len(blocks)
