"""Data that is not on this machine yet: `hf://` and `https://` files and data sets of the Hugging Face Hub."""

import fnmatch
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pipelines.data.card_schema import HUB_SCHEME, listed
from pipelines.data.files import SourceFile, as_source
from pipelines.errors import ConfigError, DataError, HubError
from pipelines.hub import hub_is_reachable

if TYPE_CHECKING:
    from datasets import Dataset

ADVICE = (
    "Without a network, give local files with --data.files.train; for a mirror, set HF_ENDPOINT; "
    "what another machine has downloaded works from a copy of its HF_HOME."
)


def is_remote(path: str) -> bool:
    """Whether a path is a URL rather than a local file."""
    return "://" in path


def fetch_files(url: str, key: str) -> list[SourceFile]:
    """The files that an `hf://datasets/...` pattern or an `https://` URL names, downloaded unless cached.

    Args:
        url: what to fetch.
        key: the config key or card that named it, for messages.

    Raises:
        HubError: the Hub cannot be reached and its cache does not hold the files, or the Hub refused.
        DataError: no file matches, the URL cannot be read, or it is neither `hf://datasets/` nor `https://`.
    """
    if url.startswith(HUB_SCHEME):
        return _fetch_hub_files(url, key)
    if not url.startswith("https://"):
        raise DataError(f"{key} is {url!r}; expected a path, {HUB_SCHEME}<user>/<name>/<file> or https://.")
    import datasets

    with quiet_datasets():
        try:
            config = datasets.DownloadConfig(disable_tqdm=True)
            local = datasets.DownloadManager(download_config=config).download(url)
        except (OSError, ValueError) as error:
            raise DataError(f"{key} is {url!r}, which cannot be downloaded: {_first_line(error)}.") from None
    return [as_source(Path(local), url, url.split("?")[0])]


def _fetch_hub_files(url: str, key: str) -> list[SourceFile]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    found = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+)", url.removeprefix(HUB_SCHEME))
    if found is None:
        raise DataError(f"{key} is {url!r}; expected {HUB_SCHEME}<user>/<name>/<file>.")
    repo, revision, pattern = found.groups()
    revision = unquote(revision) if revision else None  # refs%2Fconvert%2Fparquet: a slash would end it
    online = hub_is_reachable()
    try:
        folder = Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision, allow_patterns=[pattern], local_files_only=not online
            )
        )
    except LocalEntryNotFoundError:
        raise _unreachable(f"{key} is {url!r}") from None
    except (HfHubHTTPError, OSError) as error:
        raise HubError(f"{key} is {url!r}, but the Hub refused: {_first_line(error)} {_refusal(repo)}") from None
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    matches = [name for name in names if fnmatch.fnmatch(name, pattern)]
    if not matches and not online:
        raise _unreachable(f"{key} is {url!r}")
    if not matches:
        raise DataError(f"{key} is {url!r}, but no file of the dataset {repo} matches {pattern!r}.")
    _check_shards(matches, url)
    return [as_source(folder / name, f"{HUB_SCHEME}{repo}/{name}", name) for name in matches]


def _check_shards(names: list[str], url: str) -> None:
    """Refuses a set of `...-00000-of-00003...` files with holes: a download that was interrupted."""
    shards: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in names:
        found = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\b.*", name)
        if found:
            shards[found[1], int(found[3])].add(int(found[2]))
    for (prefix, count), present in shards.items():
        if len(present) < count:
            raise HubError(
                f"{url}: only {len(present)} of the {count} shards of {prefix} are here; the download was interrupted. "
                "Run again with a network to complete it."
            )


def load_hub_dataset(name: str, config_name: str | None, revision: str | None) -> dict[str, "Dataset"]:
    """The splits of a dataset on the Hub, downloaded or from the cache.

    Raises:
        ConfigError: `name` is no Hub id, or the dataset has no such config.
        HubError: the Hub cannot be reached and its cache does not hold the dataset, or it is missing or gated.
        DataError: the dataset's files cannot be read.
    """
    import datasets

    if Path(name).exists() or not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise ConfigError(
            f"data.name is {name!r}; expected a dataset on the Hugging Face Hub, such as user/name, that is no local "
            "path. For local files use --data.files.train, for the folder of a data card --data.card."
        )
    with quiet_datasets(), _offline_unless_reachable():
        try:
            loaded = datasets.load_dataset(name, config_name, revision=revision)
        except datasets.exceptions.DatasetNotFoundError as error:
            raise HubError(f"data.name is {name!r}: {_first_line(error)} {_refusal(name)}") from None
        except (ConnectionError, FileNotFoundError) as error:
            if not hub_is_reachable():
                raise _unreachable(f"data.name is {name!r}") from None
            raise HubError(f"data.name is {name!r}: {_first_line(error)}") from None
        except ValueError as error:
            raise ConfigError(
                f"data.name is {name!r}: {' '.join(str(error).split())} Set --data.config_name to one it has."
            ) from None
        except datasets.exceptions.DatasetGenerationError as error:
            raise DataError(
                f"data.name is {name!r}, whose files cannot be read: {_first_line(error.__cause__)}"
            ) from None
        except (OSError, RuntimeError) as error:
            raise HubError(f"data.name is {name!r}: {_first_line(error)}") from None
    if "train" not in loaded:
        raise DataError(
            f"The Hub dataset {name} has no split 'train'. Splits found: {listed(loaded)}. "
            f"Name its files instead: --data.files.train '{HUB_SCHEME}{name}/<file>'."
        )
    if revision is not None and not hub_is_reachable():
        cached = Path(loaded["train"].cache_files[0]["filename"]).parent.name
        if cached != revision:
            raise HubError(
                f"data.revision is {revision!r}, but without the Hub only the copy of {name} in the cache can be read, "
                f"whose commit is {cached!r}. Connect to the Hub, or state that commit in full."
            )
    return dict(loaded)


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Without the progress bars and warnings of `datasets`."""
    import datasets

    bars, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def _offline_unless_reachable() -> Iterator[None]:
    """Sets the libraries to offline mode where the Hub cannot be reached: they would retry for some 46 s."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not hub_is_reachable():
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _unreachable(what: str) -> HubError:
    return HubError(
        f"{what}, but the Hugging Face Hub cannot be reached from here and its cache does not hold the data. {ADVICE}"
    )


def _refusal(repo: str) -> str:
    return (
        f"Check the name at https://huggingface.co/datasets/{repo}; a gated or private dataset needs access there "
        "and `hf auth login`."
    )


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
