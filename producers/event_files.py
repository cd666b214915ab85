"""Files of order events, open for writing: lines of JSON, plain or gzip, and Parquet."""

import gzip
from pathlib import Path
from typing import Any, BinaryIO, cast


def open_lines(path: Path, zipped: bool) -> BinaryIO:
    """A file for lines of JSON."""
    return cast(BinaryIO, gzip.open(path, "wb", compresslevel=3)) if zipped else path.open("wb")


def open_parquet(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetWriter`` with the columns of ``schemas.arrow``; each ``write_batch`` of its ``to_arrow``
    is a row group. ValueError without pyarrow."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow, which is not installed: pip install 'knightwatch[replay]'") from error
    from schemas.arrow import parquet_options, schema

    return pq.ParquetWriter(path, schema(), **parquet_options())
