"""Whatever a LOG argument names, as a log."""

from pathlib import Path

from replay.log import Log, LogError
from replay.ndjson import NdjsonLog
from replay.parquet import ParquetLog
from replay.recorded import RecordedLog
from schemas.topics import PARTITIONS_DEFAULT


def open_log(
    path: Path, partitions: int = PARTITIONS_DEFAULT, stop_on_bad_line: bool = False, verify: bool = True
) -> Log:
    """A recording (directory), a Parquet file or a text log. LogError says why it is none of them."""
    if not path.exists():
        raise LogError(f"{path}: no such file or directory; expected a recording, a .parquet or a .ndjson[.gz] file")
    if path.is_dir():
        return RecordedLog(path, verify)
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return ParquetLog(path, partitions, stop_on_bad_line)
    if name.endswith((".ndjson", ".jsonl", ".json")):
        return NdjsonLog(path, partitions, stop_on_bad_line)
    raise LogError(f"{path}: expected a recording (directory), or a name that ends in .parquet, .ndjson or .ndjson.gz")
