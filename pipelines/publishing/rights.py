"""Whether a push will be allowed: the repository's name, the access token, what is there already."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError, HubError, did_you_mean
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.hub_calls import call, check_reachable, status_of
from pipelines.publishing.record import RepoType

OURS = "plumbline"  # tag of every card that is made here
MARK = "Pushed with Plumbline."  # description of every commit
EMPTY = frozenset([".gitattributes", "README.md", "LICENSE"])  # what a repository begins with, the card without text
WRITE_ROLES = frozenset(["admin", "write", "contributor"])


@dataclass(frozen=True)
class Destination:
    """A repository that may be pushed to."""

    repo_id: str
    repo_type: RepoType
    private: bool
    files: tuple[str, ...]
    """What it holds on the branch that is pushed to, or that this one is made from; of a new repository nothing."""
    tags: tuple[str, ...] = ()
    """Of its card."""
    revision: str | None = None
    """Branch that `files` are of."""
    head: str | None = None
    """Its last commit."""

    def card(self) -> str:
        """Its card as it is now; an empty text where there is none."""
        from huggingface_hub import hf_hub_download

        if "README.md" not in self.files:
            return ""
        with tempfile.TemporaryDirectory(prefix="plumbline-") as aside:
            where: dict[str, Any] = {"repo_type": self.repo_type, "revision": self.revision, "local_dir": aside}
            path = call("reading the card", lambda: hf_hub_download(self.repo_id, "README.md", **where))
            return Path(path).read_text(encoding="utf-8", errors="replace")


def check_names(publish: PublishConfig) -> None:
    """Raises ConfigError if repo_id or base_model cannot be the name of a repository."""
    for key in ("repo_id", "base_model"):
        if getattr(publish, key) is not None:
            _check_name(getattr(publish, key), f"publish.{key}")


def _check_name(repo_id: str, key: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"{key} is {repo_id!r}; expected user/name: {' '.join(str(error).split())}") from None


def check_destination(publish: PublishConfig, repo_type: RepoType) -> Destination:
    """Asks the Hub whether what is wanted can be pushed.

    Args:
        publish: with repo_id; one without a user or organisation is the token's owner's.
        repo_type: model or dataset.

    Raises:
        ConfigError: the repository is somebody else's, seen by others than publish.private says, or holds other things.
        HubError: no token, one without write rights, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    check_reachable()
    if get_token() is None:
        raise HubError(
            "There is no access token. Make one with write rights at https://huggingface.co/settings/tokens, then log "
            "in with `hf auth login`, or set HF_TOKEN."
        )
    api = HfApi()
    account = call("checking the access token", api.whoami)
    wanted = str(publish.repo_id)
    repo_id = wanted if "/" in wanted else f"{account['name']}/{wanted}"
    _check_name(repo_id, "publish.repo_id")
    _check_namespace(repo_id, account)
    _check_token(repo_id, repo_type, account)
    info, revision = call(f"looking for {repo_id}", lambda: _look(api, repo_id, repo_type, publish.revision))
    if info is None:
        return Destination(repo_id, repo_type, publish.private, ())
    call(f"checking the right to write to {repo_id}", lambda: api.auth_check(repo_id, repo_type=repo_type, write=True))
    if publish.private != bool(info.private):
        raise ConfigError(
            f"{repo_id} exists and is {'private' if info.private else 'public'}, but publish.private is "
            f"{str(publish.private).lower()}. Set --publish.private {str(bool(info.private)).lower()}, change it in "
            "the settings of the repository, or name another one."
        )
    files, tags = tuple(file.rfilename for file in info.siblings or []), tuple(info.tags or [])
    found = Destination(repo_id, repo_type, bool(info.private), files, tags, revision, info.sha)
    is_empty = set(files) <= EMPTY and not re.sub(r"^---\n.*?\n---", "", found.card().strip(), flags=re.DOTALL).strip()
    if not (OURS in tags or is_empty or publish.exist_ok or _was_begun(api, found)):
        other = next((name for name in files if name not in EMPTY), "README.md")
        raise ConfigError(
            f"{repo_id} exists and holds {len(files):,} files that Plumbline did not put there, such as {other!r}. "
            "Name another repository, or push into it all the same: --publish.exist_ok true"
        )
    return found


def _was_begun(api: Any, found: Destination) -> bool:
    """Whether Plumbline has pushed to a repository before: a push that was cut short leaves files without a card."""
    commits = call(
        f"looking at {found.repo_id}",
        lambda: api.list_repo_commits(found.repo_id, repo_type=found.repo_type, revision=found.revision),
    )
    return any(commit.message.strip() == MARK for commit in commits)


def _look(api: Any, repo_id: str, repo_type: str, revision: str | None) -> tuple[Any, str | None]:
    """What the Hub says of a repository at a branch, or where there is none at its main one; None: no repository."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return api.repo_info(repo_id, repo_type=repo_type, revision=revision), revision
    except RevisionNotFoundError:
        return api.repo_info(repo_id, repo_type=repo_type), None
    except RepositoryNotFoundError as error:
        if status_of(error) == 404:
            return None, None
        raise


def check_tag(destination: Destination, tag: str | None, *ours: str | None) -> None:
    """Refuses a tag that stands on another commit than those that this run was pushed as.

    Raises:
        ConfigError: it does, and would be moved.
    """
    from huggingface_hub import HfApi

    if tag is None or not destination.files:
        return
    repo_id, repo_type = destination.repo_id, destination.repo_type
    refs = call(f"looking for the tag {tag}", lambda: HfApi().list_repo_refs(repo_id, repo_type=repo_type))
    stands = next((ref.target_commit for ref in refs.tags if ref.name == tag), None)
    if stands is not None and stands not in ours:
        raise ConfigError(
            f"publish.git_tag is {tag!r}, which stands on commit {stands[:8]} of {repo_id}: it would be moved. Name "
            "another tag, or delete that one on the Hub."
        )


def _check_namespace(repo_id: str, account: dict[str, Any]) -> None:
    namespace = repo_id.split("/")[0]
    if namespace == account["name"]:
        return
    roles = {org["name"]: org.get("roleInOrg", "write") for org in account.get("orgs", [])}
    if namespace not in roles:
        mine = [account["name"], *(name for name in roles if roles[name] in WRITE_ROLES)]
        raise ConfigError(
            f"publish.repo_id is {repo_id!r}, but this access token is of {account['name']}, who is not in "
            f"{namespace}.{did_you_mean(namespace, mine)} It can push to: {', '.join(mine)}."
        )
    if roles[namespace] not in WRITE_ROLES:
        raise ConfigError(
            f"publish.repo_id is {repo_id!r}, but {account['name']} has the role {roles[namespace]} in {namespace}, "
            "which may not push. Ask its admins for the role write."
        )


def _check_token(repo_id: str, repo_type: RepoType, account: dict[str, Any]) -> None:
    token = account.get("auth", {}).get("accessToken", {})
    role = token.get("role", "write")  # OAuth tokens have none; the Hub will say
    advice = "Make one with write rights at https://huggingface.co/settings/tokens, and log in with `hf auth login`."
    if role == "read":
        raise HubError(f"The access token {token.get('displayName', '')!r} may read and not write. {advice}")
    if role == "fineGrained":
        namespace = repo_id.split("/")[0]
        scopes = token.get("fineGrained", {}).get("scoped", [])
        allowed = {
            scope["entity"].get("name")
            for scope in scopes
            if "repo.write" in scope.get("permissions", [])
            and scope["entity"].get("type") in ("user", "org", repo_type)
        }
        if not allowed & {namespace, repo_id}:
            raise HubError(
                f"The access token {token.get('displayName', '')!r} has no right to write to {repo_id} (but to "
                f"{', '.join(sorted(map(str, allowed))) or 'nothing'}). {advice}"
            )
