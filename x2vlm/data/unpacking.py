"""How much a compressed file may become: a small one must not fill the memory or the disk.

A file may unpack to 50 times its size, and to 256 MiB in any case (annotations in JSON shrink to a
fifth or a twentieth). The variable X2VLM_UNPACKED_MB of the environment is a larger limit.
"""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from x2vlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from typing_extensions import Buffer

TIMES = 50
LEAST = 256 * 2**20
"""bytes that any file may become"""
LONGEST_ROW = 128 * 2**20
"""bytes of one row of a shard, pictures included"""
VARIABLE = "X2VLM_UNPACKED_MB"


def most_unpacked(size: int) -> int:
    """Bytes that a file of `size` bytes may become. ConfigError for a limit that is no number."""
    given = os.environ.get(VARIABLE, "0")
    if not given.isdecimal():
        raise ConfigError(f"{VARIABLE} must be a whole number of megabytes, not {given!r}")
    return max(LEAST, TIMES * size, int(given) * 10**6)


def check_unpacked(path: Path, unpacked: int) -> None:
    """DataError when the file `path` becomes more than it may."""
    most = most_unpacked(path.stat().st_size)
    if unpacked > most:
        raise DataError(
            f"unpacks to more than {most // 10**6} MB, though it has {path.stat().st_size} bytes",
            source=str(path),
            expected=f"at most {TIMES} times its size or {LEAST // 10**6} MB",
            fix=f"if you trust this file: {VARIABLE}=N in the environment, in megabytes",
        )


class _Counted(io.RawIOBase):
    """Unpacks a gzip file and counts what comes out; DataError beyond the limit."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.done = path, 0
        self.most = most_unpacked(path.stat().st_size)
        self.inner = gzip.GzipFile(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        data = self.inner.read(len(view))
        view[: len(data)] = data
        self.done += len(data)
        if self.done > self.most:
            check_unpacked(self.path, self.done)
        return len(data)

    def close(self) -> None:
        self.inner.close()
        super().close()


def open_unpacked(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked when its content is gzip."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return io.BufferedReader(_Counted(path), 2**16) if packed else path.open("rb")


def check_parquet(path: Path) -> None:
    """DataError when the columns of a parquet file, unpacked, are larger than they may be.

    OSError when it is not a parquet file.
    """
    from pyarrow import ArrowException, parquet  # slow to import, and only for this format

    try:
        about = parquet.read_metadata(path)
    except ArrowException as error:
        raise OSError(str(error)) from error
    groups = range(about.num_row_groups)
    check_unpacked(path, sum(about.row_group(group).total_byte_size for group in groups))
