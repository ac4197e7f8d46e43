"""A push: everything but the card in one commit, then the card, so that no card stands without what it speaks of."""

import contextlib
import logging
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checksums import sha256_of
from pipelines.errors import ConfigError
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.contents import CARD, Staged
from pipelines.publishing.hub_calls import call, without_queries
from pipelines.publishing.load_back import compare_with_hub
from pipelines.publishing.rights import MARK, Destination
from pipelines.run import Interrupted, say
from pipelines.run_folder import RunFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ASIDE = ".publish-"  # beginning of the folders of a run folder that a push is made in
REHEARSAL = "publish"  # folder of a run folder that shows what would be pushed


def push(
    destination: Destination, staged: Staged, title: str, publish: PublishConfig, model: Path | None
) -> dict[str, Any]:
    """Makes the repository if need be, pushes what is staged, loads it back, and tells where it is.

    Args:
        destination: checked.
        staged: searched for what must not leave.
        title: of the first commit.
        publish: the section.
        model: folder of the model that is staged, if it is one of transformers.

    Returns:
        What published.json says: repo_id, repo_type, revision, commit, url, private, published, and files, their
        SHA-256 by path.

    Raises:
        HubError: the Hub refused, or what it gives back is not what was pushed.
    """
    from huggingface_hub import HfApi

    api, repo_id, repo_type = HfApi(), destination.repo_id, destination.repo_type
    revision, files = publish.revision or "main", staged.files
    checksums = {name: sha256_of(path) for name, path in files.items()}
    say(f"Pushing {len(files):,} files, {staged.size_bytes / 1e6:,.1f} MB, to {repo_id}")
    with _quiet_hub():
        _make(api, destination, revision)
        if CARD in destination.files:  # an old card must not stand beside new weights: all in one commit
            commit = _commit(api, destination, revision, title, files, files)
        else:
            rest = {name: path for name, path in files.items() if name != CARD}
            _commit(api, destination, revision, title, rest, files)
            commit = _commit(api, destination, revision, "Card", {CARD: files[CARD]}, files)
        if publish.load_back:
            compare_with_hub(destination, commit, checksums, model, staged.folder.parent)
        if publish.git_tag is not None:
            _tag(api, destination, publish.git_tag, commit)
        if publish.collection is not None:
            _add_to_collection(api, destination, publish.collection)
    url = f"{api.endpoint}/{'' if repo_type == 'model' else 'datasets/'}{repo_id}"
    print(f"{'published' if publish.load_back else 'pushed'} {url}\ncommit {commit}")
    return {
        "repo_id": repo_id,
        "repo_type": repo_type,
        "revision": revision,
        "commit": commit,
        "url": url,
        "private": destination.private,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": checksums,
    }


def _make(api: "HfApi", destination: Destination, revision: str) -> None:
    repo_id, repo_type = destination.repo_id, destination.repo_type
    call(
        f"making {repo_id}",
        lambda: api.create_repo(repo_id, repo_type=repo_type, private=destination.private, exist_ok=True),
    )
    if revision != "main":
        call(
            f"making the branch {revision}",
            lambda: api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True),
        )


def _commit(
    api: "HfApi", destination: Destination, revision: str, title: str, files: Mapping[str, Path], kept: Collection[str]
) -> str:
    """Commits files; deletes those that an older push left and nobody has changed since, unless they are `kept`.

    Returns:
        The commit, or the last one if nothing changes.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
    from huggingface_hub.hf_api import RepoFile

    repo_id = destination.repo_id

    def commit() -> str:
        where: dict[str, Any] = {"repo_type": destination.repo_type, "revision": revision}
        ours = {one.commit_id for one in api.list_repo_commits(repo_id, **where) if one.message.strip() == MARK}
        there = api.list_repo_tree(repo_id, recursive=True, expand=True, **where) if ours else ()
        stale = [
            one.path
            for one in there
            if isinstance(one, RepoFile) and one.path not in kept and one.last_commit and one.last_commit.oid in ours
        ]
        if stale:
            say(f"Deleting {len(stale):,} files of the push before, such as {stale[0]}")
        deleted = [CommitOperationDelete(path_in_repo=name) for name in stale]
        added = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations: list[CommitOperationAdd | CommitOperationDelete | CommitOperationCopy] = [*deleted, *added]
        return str(api.create_commit(repo_id, operations, commit_message=title, commit_description=MARK, **where).oid)

    return call(f"pushing to {repo_id}", commit)


def _tag(api: "HfApi", destination: Destination, tag: str, commit: str) -> None:
    """Sets a tag, moving one of the same name."""
    repo_id, repo_type = destination.repo_id, destination.repo_type
    refs = call(f"looking for the tag {tag}", lambda: api.list_repo_refs(repo_id, repo_type=repo_type))
    known = {ref.name: ref.target_commit for ref in refs.tags}
    if known.get(tag) == commit:
        return
    if tag in known:
        call(f"moving the tag {tag}", lambda: _delete_tag(api, destination, tag))
    call(
        f"setting the tag {tag}",
        lambda: api.create_tag(repo_id, tag=tag, revision=commit, repo_type=repo_type, exist_ok=True),
    )


def _delete_tag(api: "HfApi", destination: Destination, tag: str) -> None:
    """Deletes a tag, which may be gone if the answer to a first time was lost."""
    from huggingface_hub.errors import RevisionNotFoundError

    with contextlib.suppress(RevisionNotFoundError):
        api.delete_tag(destination.repo_id, tag=tag, repo_type=destination.repo_type)


def _add_to_collection(api: "HfApi", destination: Destination, wanted: str) -> None:
    """Adds the repository to a collection by its slug, or by the title of one of its owner's."""
    namespace, slug = destination.repo_id.split("/")[0], wanted
    if "/" not in wanted:
        known = call("looking for the collection", lambda: list(api.list_collections(owner=namespace)))
        slug = next((one.slug for one in known if one.title == wanted), "") or call(
            f"making the collection {wanted}",
            lambda: (
                api.create_collection(wanted, namespace=namespace, private=destination.private, exists_ok=True).slug
            ),
        )
    call(
        f"adding to the collection {wanted}",
        lambda: api.add_collection_item(slug, destination.repo_id, destination.repo_type, exists_ok=True),
    )


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Progress bars on terminals alone, and addresses in log lines without their query, which may hold a signature."""
    from huggingface_hub.utils import disable_progress_bars

    def strip(entry: logging.LogRecord) -> bool:
        entry.msg, entry.args = without_queries(entry.getMessage()), ()
        return True

    if not sys.stderr.isatty():
        disable_progress_bars()
    handlers = logging.getLogger("huggingface_hub").handlers
    for handler in handlers:
        handler.addFilter(strip)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(strip)


# ---------------------------------------------------------------- around a push


def require_repo_id(publish: PublishConfig) -> None:
    """Raises ConfigError if no repository is named."""
    if publish.repo_id is None:
        raise ConfigError(
            "publish.repo_id is not set. Name the repository, such as --publish.repo_id user/name; to see what would "
            "be pushed: --publish.dry_run true"
        )


@contextlib.contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Holds a run folder during a push.

    Raises:
        ConfigError: another process holds it.
        Interrupted: by Ctrl-C.
    """
    folder.lock()
    for left in folder.path.glob(f"{ASIDE}*"):  # by a push that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted. The run is whole, and what the Hub has is not sent again.") from None
    finally:
        folder.unlock()


@contextlib.contextmanager
def rehearsal(folder: RunFolder) -> Iterator[Path]:
    """A folder of the run folder that shows what would be pushed, made anew."""
    path = folder.path / REHEARSAL
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield path
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def show(staged: Staged, repo_type: str, publish: PublishConfig) -> None:
    """A rehearsal as a table: commit, size and hash of every file."""
    seen = "private" if publish.private else "public"
    print(f"{repo_type} {publish.repo_id or 'user/name'}, {seen}, branch {publish.revision or 'main'}")
    print(f"{'commit':>6}  {'bytes':>14}  {'sha256':<12}  file")
    for name, path in sorted(staged.files.items(), key=lambda file: file[0] == CARD):
        print(f"{1 + (name == CARD):>6}  {path.stat().st_size:>14,}  {sha256_of(path)[:12]}  {name}")
    print(f"{len(staged.files):,} files, {staged.size_bytes:,} bytes. Nothing was pushed. All of it: {staged.folder}")
