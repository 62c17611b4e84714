"""The bytes of a text file, piece by piece; a file that is compressed with gzip is decompressed.

Archives and files that are compressed in another way are refused, because their bytes are no text.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from search_space.input_files import UnreadableFile, open_file, reason_of

_PIECE_BYTES = 1 << 20
# gzip shrinks a text to a fourth of its size, but zeros to a thousandth. This limit keeps the work
# in proportion to the size of the file.
_MOST_EXPANSION = 100
_ALWAYS_ALLOWED = 16_000_000  # bytes, because a small file may repeat one line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """Bytes at a fixed place that identify a kind of file. No text in UTF-8 has them there.

    Attributes:
        kind: What the file is, and what to do with it, as a clause.
        content: The bytes.
        offset: Their place.
    """

    kind: str
    content: bytes
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + len(self.content)

    def is_in(self, beginning: bytes) -> bool:
        return beginning[self.offset : self.end] == self.content


_GZIP = _Signature(kind="compressed with gzip; decompress it first", content=b"\x1f\x8b")
_SIGNATURES = (
    _GZIP,
    _Signature(kind="compressed with bzip2; decompress it first", content=b"1AY&SY", offset=4),
    _Signature(kind="compressed with xz; decompress it first", content=b"\xfd7zXZ\x00"),
    _Signature(kind="compressed with zstd; decompress it first", content=b"\x28\xb5\x2f\xfd"),
    _Signature(kind="a zip archive; extract it first", content=b"PK\x03\x04"),
    _Signature(kind="a tar archive; extract it first", content=b"ustar\x0000", offset=257),
    _Signature(kind="a tar archive; extract it first", content=b"ustar  \x00", offset=257),
)
_LONGEST_SIGNATURE = max(signature.end for signature in _SIGNATURES)


def text_bytes(path: Path, most_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a text file in pieces, after decompression if it is a gzip file.

    The content decides whether a file is compressed, not its name.

    Args:
        path: The file.
        most_bytes: The largest size of the stored file that is accepted.

    Raises:
        ValueError: The file cannot be read, is damaged, or is compressed in another way.
    """
    try:
        with open_file(path, most_bytes) as file:
            if not _GZIP.is_in(_beginning(file)):
                yield from _pieces(path, file)
            else:
                yield from _decompressed(path, file)
    except UnreadableFile as error:
        raise ValueError(f"corpus: {path} cannot be read ({error.reason})") from None
    except OSError as error:
        raise ValueError(f"corpus: {path} cannot be read ({reason_of(error)})") from None


def _decompressed(path: Path, file: BinaryIO) -> Iterator[bytes]:
    most = max(_ALWAYS_ALLOWED, _MOST_EXPANSION * os.fstat(file.fileno()).st_size)
    read = 0
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            for piece in _pieces(path, stream):
                read += len(piece)
                if read > most:
                    raise ValueError(
                        f"corpus: {path} is compressed to less than 1/{_MOST_EXPANSION} of its "
                        "size, as hardly any text is; decompress it first if it is one"
                    )
                yield piece
    except EOFError:
        raise ValueError(f"corpus: {path} is a gzip file that ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"corpus: {path} is a damaged gzip file ({error})") from None


def _pieces(path: Path, stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    beginning = _beginning(stream)
    for signature in _SIGNATURES:
        if signature.is_in(beginning):
            raise ValueError(f"corpus: {path} is {signature.kind}")
    while piece := stream.read(_PIECE_BYTES):
        yield piece


def _beginning(stream: BinaryIO | gzip.GzipFile) -> bytes:
    """Return the first bytes, and go back to the start."""
    beginning = stream.read(_LONGEST_SIGNATURE)
    stream.seek(0)
    return beginning
