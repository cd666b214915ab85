"""Text files of others, line by line: plain or gzip, with what cannot be read named by its line."""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from producers.importers.findings import BadLine, Findings, Where

GZIP_MAGIC: Final = b"\x1f\x8b"


def open_text(path: Path) -> TextIO:
    """The file as text, one character a byte (what is not ASCII fails the codec's rules later, and by line)."""
    with path.open("rb") as head:
        zipped = head.read(2) == GZIP_MAGIC
    if zipped:
        return gzip.open(path, "rt", encoding="latin-1", newline="")
    return path.open(encoding="latin-1", newline="")


def rows(path: Path, findings: Findings, delimiter: str = ",") -> Iterator[tuple[Where, list[str]]]:
    """The rows of a CSV file. A broken row, or a gzip file that ends early, is refused and named."""
    with open_text(path) as text:
        reader = csv.reader(text, delimiter=delimiter)
        while True:
            where = Where(path.name, reader.line_num + 1)
            try:
                row = next(reader, None)
            except csv.Error as error:
                findings.lines += 1
                findings.refuse(where, "undecodable", f"found a row that is no CSV ({error}); correct it")
                continue
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                findings.refuse(
                    where, "truncated", f"found a broken gzip file ({error}); expected it whole; fetch it again"
                )
                return
            if row is None:
                return
            if row:
                findings.lines += 1
                yield Where(path.name, reader.line_num), row


def integer(text: str, name: str) -> int:
    """A whole number; BadLine says which field is none."""
    try:
        return int(text)
    except ValueError:
        raise BadLine("wrong_type", text, f"a whole number for {name}") from None


def number(text: str, name: str) -> float:
    """A finite decimal number; BadLine says which field is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadLine("wrong_type", text, f"a finite number for {name}")
    return value
