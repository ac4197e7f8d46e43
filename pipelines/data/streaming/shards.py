"""The shards of a streamed corpus: files of this machine or of the Hugging Face Hub, read in pieces, never copied."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from pipelines.data.card_schema import HUB_SCHEME
from pipelines.data.files import SourceFile, find_files, format_of, one_format, open_bytes
from pipelines.data.remote import ADVICE, is_remote
from pipelines.errors import DataError, HubError
from pipelines.hub import hub_is_reachable

FORMATS = ("json", "text", "parquet")
EDGE_BYTES = 1 << 16  # of the beginning and the end of a local file that are part of its fingerprint
MOST_DECOMPRESSED_BYTES = 1 << 30  # a compressed file is held in memory as a whole


@dataclass(frozen=True)
class Shard:
    """A file as it was when the run began.

    Attributes:
        file: how to read it, and what messages call it; on the Hub its path is that of HfFileSystem, with the commit.
        size: bytes.
        version: nanoseconds of the modification time, or the Hub's hash of the content.
        is_on_hub: read with range requests.
    """

    file: SourceFile
    size: int
    version: str
    is_on_hub: bool = False

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes of the file, which can be sought in.

        Raises:
            DataError: the file is gone, cannot be read, or is another one than when the run began.
            HubError: the Hub cannot be reached, or refused.
        """
        if self.is_on_hub:
            with _told(self.file.shown), _file_system().open(self.file.path.as_posix(), "rb") as stream:
                yield cast(BinaryIO, stream)
            return
        self.check()
        try:
            with self.file.path.open("rb") as stream:
                yield stream
        except OSError as error:
            raise DataError(f"{self.file.shown} cannot be read: {error.strerror or error}.") from None

    def check(self) -> None:
        """Raises DataError if a local file is gone, or is another one than when the run began."""
        if self.is_on_hub:  # its path names a commit
            return
        try:
            found = self.file.path.stat()
        except OSError as error:
            raise DataError(
                f"{self.file.shown}, a shard of the streamed corpus, cannot be read any more: {error.strerror}. "
                "Nothing is skipped: put it back, and run the same command to go on from the last checkpoint."
            ) from None
        if (found.st_size, str(found.st_mtime_ns)) != (self.size, self.version):
            raise DataError(
                f"{self.file.shown}, a shard of the streamed corpus, was changed while the run read it: it had "
                f"{self.size:,} bytes, now {found.st_size:,}, or was written since. Put the file of the start back, "
                "and run the same command to go on from the last checkpoint."
            )

    def decompressed(self) -> bytes:
        """The whole content of a compressed file.

        Raises:
            DataError: as `open`; also a damaged file, and one of more than MOST_DECOMPRESSED_BYTES.
        """
        self.check()
        with open_bytes(self.file) as stream:
            content = stream.read(MOST_DECOMPRESSED_BYTES + 1)
        if len(content) > MOST_DECOMPRESSED_BYTES:
            raise DataError(
                f"{self.file.shown} has more than {MOST_DECOMPRESSED_BYTES:,} bytes when decompressed, and a "
                "compressed file can only be read as a whole. Split or decompress it: lines can be read from anywhere."
            )
        return content

    def stamp(self) -> str:
        """What stands for the content in fingerprints: the Hub's hash, or size and both ends of a local file."""
        import xxhash

        if self.is_on_hub:
            return f"{self.size} {self.version}"
        with self.open() as stream:
            edges = stream.read(EDGE_BYTES)
            stream.seek(max(0, self.size - EDGE_BYTES))
            edges += stream.read(EDGE_BYTES)
        return f"{self.size} {xxhash.xxh3_128_hexdigest(edges)}"


def find_shards(paths: str | Sequence[str], key: str) -> list[Shard]:
    """The shards that paths, globs and `hf://datasets/...` patterns name.

    Args:
        paths: one or several.
        key: the config key or card that named them, for messages.

    Raises:
        DataError: a path names nothing, or a format that cannot be streamed.
        HubError: the Hub cannot be reached, or refused.
    """
    shards: list[Shard] = []
    for path in [paths] if isinstance(paths, str) else paths:
        if path.startswith(HUB_SCHEME):
            shards += _hub_shards(path, key)
        elif is_remote(path):
            raise DataError(
                f"{key} is {path!r}, which cannot be streamed: expected local files or "
                f"{HUB_SCHEME}<user>/<name>/<file>. Download it first."
            )
        else:
            shards += local_shards(find_files(path, key))
    one_format([shard.file for shard in shards], key)
    for shard in shards:
        _check_format(shard)
    return shards


def local_shards(files: Sequence[SourceFile]) -> list[Shard]:
    """Files of this machine as shards, as they are now."""
    found = [(file, file.path.stat()) for file in files]
    return [Shard(file, stat.st_size, str(stat.st_mtime_ns)) for file, stat in found]


def _check_format(shard: Shard) -> None:
    file = shard.file
    if file.format not in FORMATS:
        raise DataError(
            f"{file.shown} is {file.format}, which cannot be streamed: expected json lines, parquet or text. "
            "recipes/prepare_corpus.py writes parquet."
        )
    if file.compression and (file.format == "parquet" or shard.is_on_hub):
        raise DataError(
            f"{file.shown} is compressed as a whole ({file.compression}), which cannot be streamed "
            f"{'from the Hub' if shard.is_on_hub else 'in parquet, whose columns have a compression of their own'}. "
            "Decompress it, or download it first."
        )


# ---------------------------------------------------------------- the Hub


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns what the Hub's client raises into a HubError."""
    import httpx2

    try:
        yield
    except (OSError, httpx2.HTTPError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise HubError(
            f"{what} cannot be read from the Hub: {lines[0]} Run the same command again to go on from the last "
            "checkpoint; a gated or private dataset needs access and `hf auth login`."
        ) from None


def _file_system() -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem()  # of this thread: fsspec keeps one for each


@cache
def hub_tree(repo: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """The commit of a revision of a dataset, and its files by path.

    Raises:
        HubError: the Hub cannot be reached, or refused.
    """
    from huggingface_hub import HfApi

    if not hub_is_reachable():
        raise HubError(f"The dataset {repo} is to be streamed, but the Hugging Face Hub cannot be reached. {ADVICE}")
    with _told(f"The dataset {repo}"):
        commit = cast(str, HfApi().repo_info(repo, repo_type="dataset", revision=revision).sha)
        tree = HfApi().list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
        return commit, {found.path: found for found in tree if hasattr(found, "size")}


def _hub_shards(url: str, key: str) -> list[Shard]:
    found = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+)", url.removeprefix(HUB_SCHEME))
    if found is None:
        raise DataError(f"{key} is {url!r}; expected {HUB_SCHEME}<user>/<name>/<file>.")
    repo, revision, pattern = found.groups()
    commit, files = hub_tree(repo, unquote(revision) if revision else None)
    names = sorted(name for name in files if fnmatch.fnmatch(name, pattern))
    if not names:
        raise DataError(f"{key} is {url!r}, but no file of the dataset {repo} matches {pattern!r}.")
    shards = []
    for name in names:
        shown = f"{HUB_SCHEME}{repo}/{name}"
        path = Path(PurePosixPath("datasets", *f"{repo}@{commit}".split("/"), name))
        lfs = files[name].lfs
        file = SourceFile(path, shown, *format_of(shown, name))
        shards.append(Shard(file, files[name].size, lfs.sha256 if lfs else files[name].blob_id, is_on_hub=True))
    return shards


def hub_data_files(name: str, config_name: str | None, revision: str | None) -> dict[str, list[str]]:
    """The data files of a dataset of the Hub by split, as `datasets` finds them: `hf://` URLs with the commit.

    Raises:
        HubError: the Hub cannot be reached, or refused; there is no such config.
        DataError: it has no training files.
    """
    import datasets

    from pipelines.data.remote import quiet_datasets

    if not hub_is_reachable():
        raise HubError(f"data.name is {name!r}, but the Hugging Face Hub cannot be reached from here. {ADVICE}")
    with quiet_datasets(), _told(f"data.name {name!r}"):
        try:
            builder = datasets.load_dataset_builder(name, config_name, revision=revision)
        except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:
            raise HubError(f"data.name is {name!r}: {' '.join(str(error).split())}") from None
    files = {str(split): [str(url) for url in urls] for split, urls in (builder.config.data_files or {}).items()}
    if not files.get("train"):
        raise DataError(
            f"The Hub dataset {name} has no files of a split 'train'. Name its files instead: --data.files.train "
            f"'{HUB_SCHEME}{name}/<file>'."
        )
    return files
