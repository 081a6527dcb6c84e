"""Benchmark 6: reads and writes of an encrypted volume beside those of a plain one, in turns."""

import random
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.tables import markdown_table
from benchmarks.volumes import AREA, REQUEST_SIZES, ROUNDS, Rate, measure_rate
from ebsim import Store, VolumeRequest
from ebsim.units import MIB, format_size
from ebsim.volumes.volume_file import VolumeFile


@dataclass(frozen=True, slots=True)
class EncryptedVolumeResults:
    """How fast requests are; `raw` is a plain volume, and `volume` an encrypted one."""

    rates: list[Rate]


def measure_encrypted_volumes(folder: Path) -> EncryptedVolumeResults:
    """Measure all of it, in a store that is made in a folder."""
    print("an encrypted volume beside a plain one", file=sys.stderr)
    noise = random.Random(1).randbytes(AREA)
    with Store.create(folder) as store, _open(store, None) as plain, _open(store, True) as sealed:
        for volume in (plain, sealed):
            volume.pwrite(noise, 0)
        rates = []
        for size in REQUEST_SIZES:
            reads = [partial(volume.pread, size) for volume in (plain, sealed)]
            writes = [partial(volume.pwrite, noise[:size]) for volume in (plain, sealed)]
            rates.append(measure_rate("read", size, *reads))
            rates.append(measure_rate("write", size, *writes))
    return EncryptedVolumeResults(rates)


def encrypted_volumes_markdown(results: EncryptedVolumeResults, machine: Machine) -> str:
    """Return the table."""
    about = (
        f"On {machine}.\n"
        f"Microseconds a request, at random places of {AREA // MIB} MiB that lie in memory;"
        f" medians of {ROUNDS} rounds that take turns, and in brackets the worst ratio."
    )
    header = ["request", "plain", "encrypted", "GB/s encrypted", "speed of the encrypted"]
    rows = [
        [
            f"{rate.kind} of {format_size(rate.request_bytes)}",
            f"{rate.raw:.1f}",
            f"{rate.volume:.1f}",
            f"{rate.request_bytes / rate.volume / 1e3:.2f}",
            f"{rate.ratio:.2f} ({rate.ratio_least:.2f})",
        ]
        for rate in results.rates
    ]
    return f"{about}\n\n{markdown_table(header, rows)}"


def encrypted_volumes_json(results: EncryptedVolumeResults, machine: Machine) -> dict[str, object]:
    """Return the same for a program."""
    return {"machine": asdict(machine), **asdict(results)}


def _open(store: Store, encrypted: bool | None) -> VolumeFile:
    request = VolumeRequest(size_gib=1, volume_type="gp3", encrypted=encrypted)
    return store.volumes.open(store.volumes.create(request).volume_id)
