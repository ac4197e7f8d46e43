"""A Hugging Face Hub on 127.0.0.1 for tests: repositories, large files, cards, collections, and faults on demand.

It speaks the protocol of huggingface_hub 2.4 with Xet off. Beyond the standard library it needs PyYAML, for cards.
"""

import base64
import hashlib
import json
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import yaml

LICENSES = set(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
    eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research
    intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit
    mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other pddl postgresql unknown
    unlicense wtfpl zlib
    """.split()  # noqa: SIM905
)
LARGE_FILE_ENDINGS = (".arrow", ".bin", ".gz", ".model", ".npy", ".npz", ".onnx", ".parquet", ".pt", ".safetensors")
LARGE_FILE_BYTES = 10_000_000
REPOSITORY_ID = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
# Parts of the paths of routes.
REPO = r"(?P<kind>models|datasets)/(?P<repo>[^/]+(?:/[^/]+)?)"
PAGE = r"/(?:(?P<kind>datasets)/)?(?P<repo>[^/]+(?:/[^/]+)?)"
REVISION = r"/(?P<revision>[^/]+)"
SLUG = r"/api/collections/(?P<slug>[^/]+/[^/]+)"


class Answer(NamedTuple):
    status: int
    content: bytes = b""
    headers: Mapping[str, str] = {}


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = json.dumps(value, default=str).encode()
    return Answer(status, content, {"Content-Type": "application/json", **(headers or {})})


class Refusal(Exception):
    """An answer that is an error; `more` are further keys of its JSON."""

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None, **more: str
    ) -> None:
        told = {"X-Error-Message": message, **({} if code is None else {"X-Error-Code": code}), **(headers or {})}
        self.answer = as_json({"error": message, **more}, status, told)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        status: answered in place of doing anything, or with apply_first after having done it (a lost answer).
        code: X-Error-Code beside the status, such as RepoNotFound.
        retry_after_seconds: the Retry-After header beside the status.
        cut_body_after_bytes: the connection ends when so much of the request's body was read; nothing is done.
        cut_answer_after_bytes: the connection ends when the headers and so much of the content were sent.
        delay_seconds: wait before the answer, after having done what was asked for.
        corrupt: one byte of what is sent is flipped; of what is put into storage, once its hash was found right.
    """

    status: int | None = None
    message: str = "made to fail"
    code: str | None = None
    retry_after_seconds: int | None = None
    apply_first: bool = False
    cut_body_after_bytes: int | None = None
    cut_answer_after_bytes: int | None = None
    delay_seconds: float = 0.0
    corrupt: bool = False


@dataclass
class Rule:
    """Which requests go wrong (regular expressions), and how many more of them (None: all)."""

    method: str
    path: str
    fault: Fault
    times: int | None


class Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Message
    body: bytes
    fault: Fault
    is_signed: bool  # carries the token of the account

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def asks(self, flag: str) -> bool:
        return self.query.get(flag, ["false"])[0].lower() in ("1", "true")


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def damaged(content: bytes) -> bytes:
    """The content with the byte in its middle flipped."""
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 1]) + content[middle + 1 :]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def object_id(*names: str) -> str:
    """24 hexadecimal digits, the same for the same names."""
    return git_id(repr(names).encode())[:24]


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; its bytes lie in the storage under their sha256."""

    sha256: str
    size: int
    git_id: str
    is_large: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.git_id


@dataclass(frozen=True)
class Commit:
    id: str
    parent: "Commit | None"
    title: str
    description: str
    date: str
    files: Mapping[str, StoredFile]

    def history(self) -> "Iterator[Commit]":
        """This commit and those before it, newest first."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def has_folder(self, path: str) -> bool:
        return any(name.startswith(path.rstrip("/") + "/") for name in self.files)

    def entry(self, path: str, expand: bool) -> dict[str, Any]:
        """A file or a folder as the Hub shows it; `expand`: with the commit that changed the file last."""
        stored = self.files.get(path)
        if stored is None:
            return {"type": "directory", "oid": git_id(path.encode()), "size": 0, "path": path}
        shown: dict[str, Any] = {"type": "file", "oid": stored.git_id, "size": stored.size, "path": path}
        if stored.is_large:
            shown["lfs"] = {"oid": stored.sha256, "size": stored.size, "pointerSize": 134}
        if expand:
            change = next(at for at in self.history() if not at.parent or at.parent.files.get(path) != stored)
            shown["lastCommit"] = {"id": change.id, "title": change.title, "date": change.date}
        return shown


@dataclass
class Repository:
    kind: str  # model or dataset
    id: str
    private: bool
    created: str = field(default_factory=now)
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    by_id: dict[str, Commit] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return f"/datasets/{self.id}" if self.kind == "dataset" else f"/{self.id}"

    def at(self, revision: str) -> Commit:
        for commits in (self.branches, self.tags, self.by_id):
            if revision in commits:
                return commits[revision]
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def commit(self, branch: str, files: Mapping[str, StoredFile], title: str, description: str = "") -> Commit:
        parent = self.branches.get(branch)
        identity = repr((self.page, parent and parent.id, title, sorted(files), time.time_ns()))
        made = Commit(hashlib.sha1(identity.encode()).hexdigest(), parent, title, description, now(), dict(files))
        self.branches[branch] = self.by_id[made.id] = made
        return made


RESULT = {"task": {"type": str}, "dataset": {"name": str, "type": str}, "metrics": [{"type": str, "value": object}]}
CARD = {
    **{"tags": [str], "pipeline_tag": str, "library_name": str, "license_name": str},
    "model-index": [{"name": str, "results": [RESULT]}],
}


def shape_errors(value: Any, shape: Any, name: str) -> Iterator[str]:
    """Where a value is not of a shape: a type, a list of one shape, or a dict whose keys are all required."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f'"{name}" must be an array'
        for place, item in enumerate(value if isinstance(value, list) else ()):
            yield from shape_errors(item, shape[0], f"{name}[{place}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f'"{name}" must be of type object'
        for key, inner in shape.items() if isinstance(value, dict) else ():
            missing = value.get(key) is None
            yield from [f'"{name}.{key}" is required'] if missing else shape_errors(value[key], inner, f"{name}.{key}")
    elif not isinstance(value, shape):
        yield f'"{name}" must be a string'


def front_matter(readme: str) -> Any:
    """What the YAML block of a card holds; None without a block."""
    block = re.match(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", readme, re.DOTALL | re.MULTILINE)
    return yaml.safe_load(block[1]) if block else None


def card_errors(readme: str) -> list[str]:
    """What the Hub refuses in the front matter of a card, in its words."""
    try:
        card = front_matter(readme)
    except yaml.YAMLError as error:
        return [f"YAML metadata error: {error}"]
    if not isinstance(card or {}, dict):
        return ["the metadata must be a YAML map"]
    card = card or {}
    errors = [error for key, shape in CARD.items() if key in card for error in shape_errors(card[key], shape, key)]
    licenses = as_list(card.get("license"))
    if any(name not in LICENSES for name in licenses):
        errors.append(f'"license" must be one of [{", ".join(sorted(LICENSES))}]')
    if "other" in licenses and "license_name" not in card:
        errors.append('"license_name" is required where "license" is other')
    for language in as_list(card.get("language")):
        if not (isinstance(language, str) and re.fullmatch("[a-z]{2,3}|code|multilingual", language)):
            errors.append(
                f'"language" with value "{language}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code '
                '(two/three letters), or a special value like "code", "multilingual".'
            )
    for key in ("base_model", "datasets"):
        for name in as_list(card.get(key)):
            if not (isinstance(name, str) and re.fullmatch(REPOSITORY_ID, name)):
                errors.append(f'"{key}" with value "{name}" is not valid. Use an id from https://hf.co.')
    return errors


Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], bool, Route]] = []


def route(method: str, path: str, to_write: bool = False) -> Callable[[Route], Route]:
    """The function answers such requests, of GET also HEAD; it is given the named groups of the path.

    Where they name a repository, it is given that instead, once it is known that it may be read, or written to.
    """

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(path), to_write, function))
        return function

    return register


class HubApi:
    """The account, what the Hub holds, and the answers to requests. The attributes may be changed at any time.

    Attributes:
        user, token: the only account, and its token.
        role: of the token: read, write or fineGrained.
        orgs: organization -> role of the user in it: admin, write, contributor or read. Of bare names: write.
        scopes: of a fineGrained token: user, organization or repository -> permissions, such as repo.write.
    """

    url = ""

    def __init__(
        self,
        root: Path,
        user: str = "ada",
        token: str = "hf_" + "a" * 34,
        role: str = "write",
        orgs: Iterable[str] | Mapping[str, str] = (),
        scopes: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.user, self.token, self.role = user, token, role
        self.orgs = dict(orgs) if isinstance(orgs, Mapping) else dict.fromkeys(orgs, "write")
        self.scopes = dict(scopes or {})
        self.storage = root / "storage"
        self.storage.mkdir(parents=True, exist_ok=True)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.lock = threading.RLock()

    def answer(self, request: Request) -> Answer:
        """Raises a Refusal where the answer is an error."""
        if "Authorization" in request.headers and not request.is_signed:
            raise Refusal(401, "Invalid credentials in Authorization header")
        for method, pattern, to_write, function in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == ("GET" if request.method == "HEAD" else request.method):
                groups: dict[str, Any] = {name: unquote(value or "") for name, value in match.groupdict().items()}
                with self.lock:
                    if "repo" in groups:
                        groups["repo"] = self.open(request, groups.pop("kind"), groups["repo"], to_write)
                    return function(self, request, **groups)
        raise Refusal(404, f"Sorry, there is no {request.method} {request.path} here")

    # Who may do what

    def token_allows(self, name: str, permission: str) -> bool:
        if self.role == "fineGrained":
            return any(permission in self.scopes.get(entity, ()) for entity in (name, name.split("/")[0]))
        return self.role == "write" or permission.endswith(".read")

    def sees(self, request: Request, name: str, what: Repository | Mapping[str, Any]) -> bool:
        """Whether a repository or collection of that name is public, or one that the token may read."""
        if isinstance(what, Repository):
            private, permissions = what.private, ("repo.content.read", "repo.write")
        else:
            private, permissions = what["private"], ("collection.read", "collection.write")
        namespace = name.split("/")[0]
        is_member = request.is_signed and (namespace == self.user or namespace in self.orgs)
        return not private or (is_member and any(self.token_allows(name, permission) for permission in permissions))

    def check_write(self, request: Request, name: str, permission: str, to_do: str) -> None:
        namespace = name.split("/")[0]
        if not request.is_signed:
            raise Refusal(401, "Invalid username or password.")
        if namespace != self.user and self.orgs.get(namespace) not in ("admin", "write", "contributor"):
            raise Refusal(403, f'You don\'t have the rights to {to_do} under the namespace "{namespace}"')
        if not self.token_allows(name, permission):
            raise Refusal(403, f"Forbidden: you must use a write token to {to_do}")

    def open(self, request: Request, kind: str, name: str, to_write: bool = False) -> Repository:
        found = self.repositories.get((kind.removesuffix("s") or "model", name))
        if found is None or not self.sees(request, name, found):
            raise Refusal(404 if request.is_signed else 401, "Repository not found", "RepoNotFound")
        if to_write:
            self.check_write(request, name, "repo.write", "write to a repository")
        return found

    @route("GET", "/api/whoami-v2")
    def whoami(self, request: Request) -> Answer:
        if not request.is_signed:
            raise Refusal(401, "Invalid username or password.")
        token: dict[str, Any] = {"displayName": "test", "role": self.role, "createdAt": "2024-01-01T00:00:00.000Z"}
        if self.role == "fineGrained":
            kinds = {self.user: "user", **dict.fromkeys(self.orgs, "org")}
            scoped = []
            for name, permissions in self.scopes.items():
                entity = {"_id": object_id(name), "type": kinds.get(name, "model"), "name": name}
                scoped.append({"entity": entity, "permissions": list(permissions)})
            token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": scoped}

        def account(kind: str, name: str, **more: Any) -> dict[str, Any]:
            unused = {"email": None, "canPay": False, "periodEnd": None, "avatarUrl": ""}
            return {"type": kind, "id": object_id(name), "name": name, "fullname": name, **unused, **more}

        orgs = [account("org", name, roleInOrg=role) for name, role in self.orgs.items()]
        auth = {"type": "access_token", "accessToken": token}
        return as_json(account("user", self.user, isPro=False, orgs=orgs, auth=auth))

    @route("GET", rf"/api/{REPO}/auth-check")
    def check_reading(self, request: Request, repo: Repository) -> Answer:
        return as_json({})

    @route("GET", rf"/api/{REPO}/auth-check/write", to_write=True)
    def check_writing(self, request: Request, repo: Repository) -> Answer:
        return as_json({})

    # Repositories

    def named(self, request: Request) -> tuple[str, str]:
        wanted = request.json()
        return wanted.get("type") or "model", f"{wanted.get('organization') or self.user}/{wanted['name']}"

    @route("POST", "/api/repos/create")
    def create_repository(self, request: Request) -> Answer:
        kind, name = self.named(request)
        self.check_write(request, name, "repo.write", f"create a {kind}")
        if kind not in ("model", "dataset") or not re.fullmatch(REPOSITORY_ID, name):
            raise Refusal(400, f"There can be no {kind} {name} here")
        made = Repository(kind, name, is_private(request.json(), False))
        url = self.url + made.page
        if (kind, name) in self.repositories:
            raise Refusal(409, f"You already created this {kind} repo", url=url, name=name)
        self.repositories[kind, name] = made
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_FILE_ENDINGS)
        made.commit("main", {".gitattributes": self.store(attributes.encode())}, "initial commit")
        return as_json({"url": url, "name": name, "id": object_id(kind, name)})

    @route("DELETE", "/api/repos/delete")
    def delete_repository(self, request: Request) -> Answer:
        repository = self.open(request, *self.named(request), to_write=True)
        del self.repositories[repository.kind, repository.id]
        return as_json({})

    @route("PUT", rf"/api/{REPO}/settings", to_write=True)
    def change_settings(self, request: Request, repo: Repository) -> Answer:
        repo.private = is_private(request.json(), repo.private)
        return as_json({"private": repo.private})

    def info(self, repo: Repository, commit: Commit, with_sizes: bool = False) -> dict[str, Any]:
        card: dict[str, Any] = {}
        if "README.md" in commit.files:
            readme = self.read(commit.files["README.md"]).decode(errors="replace")
            card = {} if card_errors(readme) else front_matter(readme) or {}
        prefixes = {"tags": "", "language": "", "license": "license:", "datasets": "dataset:"}
        tags = [f"{prefix}{value}" for key, prefix in prefixes.items() for value in as_list(card.get(key))]
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
        for sibling in siblings if with_sizes else ():
            stored = commit.files[sibling["rfilename"]]
            sibling |= {"size": stored.size, "blobId": stored.git_id}
            if stored.is_large:
                sibling["lfs"] = {"sha256": stored.sha256, "size": stored.size, "pointerSize": 134}
        return {
            **{"_id": object_id(repo.page), "id": repo.id, "author": repo.id.split("/")[0], "private": repo.private},
            **{"sha": commit.id, "lastModified": commit.date, "createdAt": repo.created, "gated": False},
            **{key: card[key] for key in ("pipeline_tag", "library_name", "model-index") if key in card},
            **{"tags": tags, "cardData": card, "siblings": siblings},
        }

    @route("GET", r"/api/(?P<kind>models|datasets)")
    def list_repositories(self, request: Request, kind: str) -> Answer:
        author, search = (request.query.get(key, [""])[0].lower() for key in ("author", "search"))
        found = []
        for repo in self.repositories.values():
            if f"{repo.kind}s" == kind and self.sees(request, repo.id, repo) and search in repo.id.lower():
                info = self.info(repo, repo.at("main"))
                if author in ("", info["author"].lower()) and set(request.query.get("filter", ())) <= set(info["tags"]):
                    found.append(info if request.asks("full") else {**info, "siblings": None})
        return as_json(found[: int(request.query.get("limit", ["1000"])[0])])

    @route("GET", rf"/api/{REPO}/refs")
    def list_refs(self, request: Request, repo: Repository) -> Answer:
        def refs(commits: Mapping[str, Commit], folder: str) -> list[dict[str, str]]:
            shown = {name: {"ref": f"refs/{folder}/{name}", "targetCommit": at.id} for name, at in commits.items()}
            return [{"name": name, **ref} for name, ref in shown.items()]

        branches, tags = refs(repo.branches, "heads"), refs(repo.tags, "tags")
        return as_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    @route("POST", rf"/api/{REPO}/branch{REVISION}", to_write=True)
    def create_branch(self, request: Request, repo: Repository, revision: str) -> Answer:
        if revision in repo.branches:
            raise Refusal(409, f"Reference already exists: {revision}")
        repo.branches[revision] = repo.at(request.json().get("startingPoint") or "main")
        return as_json({})

    @route("POST", rf"/api/{REPO}/tag{REVISION}", to_write=True)
    def create_tag(self, request: Request, repo: Repository, revision: str) -> Answer:
        tag = request.json()["tag"]
        if tag in repo.tags:
            raise Refusal(409, f"Tag reference exists already: {tag}")
        repo.tags[tag] = repo.at(revision)
        return as_json({})

    @route("DELETE", rf"/api/{REPO}/(?P<refs>branch|tag){REVISION}", to_write=True)
    def delete_ref(self, request: Request, repo: Repository, refs: str, revision: str) -> Answer:
        if (repo.branches if refs == "branch" else repo.tags).pop(revision, None) is None:
            raise Refusal(404, f"Reference not found: {revision}", "RevisionNotFound")
        return as_json({})

    @route("GET", rf"/api/{REPO}/commits{REVISION}")
    def list_commits(self, request: Request, repo: Repository, revision: str) -> Answer:
        def shown(at: Commit) -> dict[str, Any]:
            author = {"user": self.user}
            return {"id": at.id, "title": at.title, "message": at.description, "date": at.date, "authors": [author]}

        return as_json([shown(at) for at in repo.at(revision).history()])

    # Reading files

    def read(self, stored: StoredFile) -> bytes:
        return (self.storage / stored.sha256).read_bytes()

    @route("GET", rf"/api/{REPO}/tree{REVISION}(?:/(?P<folder>.+))?")
    def tree(self, request: Request, repo: Repository, revision: str, folder: str) -> Answer:
        commit, prefix = repo.at(revision), folder and folder.rstrip("/") + "/"
        if folder and not commit.has_folder(folder):
            raise Refusal(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        names: dict[str, None] = {}
        for path in sorted(commit.files):
            if path.startswith(prefix):
                parts = path.removeprefix(prefix).split("/")
                depths = range(1, len(parts) + 1) if request.asks("recursive") else (1,)
                names |= dict.fromkeys(prefix + "/".join(parts[:depth]) for depth in depths)
        return as_json([commit.entry(name, request.asks("expand")) for name in names])

    @route("POST", rf"/api/{REPO}/paths-info{REVISION}")
    def paths_info(self, request: Request, repo: Repository, revision: str) -> Answer:
        commit, form = repo.at(revision), parse_qs(request.body.decode())
        expand = form.get("expand", ["false"])[0].lower() == "true"
        found = [path for path in form.get("paths", ()) if path in commit.files or commit.has_folder(path)]
        return as_json([commit.entry(path, expand) for path in found])

    @route("GET", rf"{PAGE}/resolve{REVISION}/(?P<path>.+)")
    def resolve(self, request: Request, repo: Repository, revision: str, path: str) -> Answer:
        commit = repo.at(revision)
        headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        stored = commit.files.get(path)
        if stored is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.id})
        headers["ETag"] = f'"{stored.etag}"'
        if stored.is_large:
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(stored.size)}
        content = self.read(stored)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if not asked or not any(asked.groups()):
            return Answer(200, content, headers)
        size, (first, last) = len(content), asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= stop:
            raise Refusal(416, "Requested range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
        return Answer(206, content[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    # Writing files

    def store(self, content: bytes) -> StoredFile:
        """A file that is no large one."""
        sha256 = hashlib.sha256(content).hexdigest()
        (self.storage / sha256).write_bytes(content)
        return StoredFile(sha256, len(content), git_id(content), False)

    @route("POST", "/api/validate-yaml")
    def validate_card(self, request: Request) -> Answer:
        """Errors as text or as JSON, as the client asks for."""
        readme = request.json()["content"]
        errors = card_errors(readme)
        if request.headers.get("Accept") == "text/plain":
            text = "\n".join(f"- Error: {error}" for error in errors)
            return Answer(400 if errors else 200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        is_bare = not errors and not front_matter(readme)
        warnings = [{"message": "empty or missing yaml metadata in repo card"}] if is_bare else []
        found = {"errors": [{"message": error} for error in errors], "warnings": warnings}
        return as_json(found, 400 if errors else 200)

    @route("POST", rf"/api/{REPO}/preupload{REVISION}", to_write=True)
    def choose_upload_modes(self, request: Request, repo: Repository, revision: str) -> Answer:
        commit, files = repo.at(revision), []
        for wanted in request.json()["files"]:
            is_large = wanted["size"] > LARGE_FILE_BYTES or wanted["path"].endswith(LARGE_FILE_ENDINGS)
            is_binary = b"\0" in base64.b64decode(wanted["sample"])
            there = commit.files.get(wanted["path"])
            mode = {"uploadMode": "lfs" if is_large or is_binary else "regular", "shouldIgnore": False}
            files.append({"path": wanted["path"], "oid": there and there.etag, **mode})
        return as_json({"files": files, "commitOid": commit.id})

    @route("POST", rf"{PAGE}\.git/info/lfs/objects/batch")
    def plan_transfers(self, request: Request, repo: Repository) -> Answer:
        batch, objects = request.json(), []
        if batch["operation"] == "upload":
            self.check_write(request, repo.id, "repo.write", "upload")
        for wanted in batch["objects"]:
            planned = {"oid": wanted["oid"], "size": wanted["size"]}
            content, is_there = {"href": f"{self.url}/storage/{wanted['oid']}"}, (self.storage / wanted["oid"]).exists()
            if batch["operation"] == "upload" and not is_there:
                verify = {"href": f"{self.url}{repo.page}.git/info/lfs/objects/verify"}
                planned["actions"] = {"upload": content, "verify": verify}
            elif batch["operation"] == "download":
                missing = {"error": {"code": 404, "message": "Object does not exist"}}
                planned |= {"actions": {"download": content}} if is_there else missing
            objects.append(planned)
        return as_json({"transfer": "basic", "objects": objects, "hash_algo": "sha256"})

    @route("POST", rf"{PAGE}\.git/info/lfs/objects/verify", to_write=True)
    def verify_transfer(self, request: Request, repo: Repository) -> Answer:
        wanted = request.json()
        path = self.storage / wanted["oid"]
        if not path.exists() or path.stat().st_size != wanted["size"]:
            raise Refusal(404, f"Object {wanted['oid']} was not uploaded")
        return as_json({})

    @route("PUT", r"/storage/(?P<sha256>[0-9a-f]{64})")
    def put_content(self, request: Request, sha256: str) -> Answer:
        """Needs no token, as on the Hub, where the address itself is signed."""
        if hashlib.sha256(request.body).hexdigest() != sha256:
            raise Refusal(400, "The content does not have this sha256")
        (self.storage / sha256).write_bytes(damaged(request.body) if request.fault.corrupt else request.body)
        return Answer(200)

    @route("GET", r"/storage/(?P<sha256>[0-9a-f]{64})")
    def get_content(self, request: Request, sha256: str) -> Answer:
        path = self.storage / sha256
        return Answer(200, path.read_bytes()) if path.exists() else Answer(404)

    @route("POST", rf"/api/{REPO}/commit{REVISION}", to_write=True)
    def commit(self, request: Request, repo: Repository, revision: str) -> Answer:
        if revision not in repo.branches:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        header, *operations = (json.loads(line) for line in request.body.splitlines())
        parent = repo.branches[revision]
        if not parent.id.startswith(header["value"].get("parentCommit") or ""):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for operation in operations:
            self.apply(operation["key"], operation["value"], files)
        made = repo.commit(revision, files, header["value"]["summary"], header["value"].get("description", ""))
        url = f"{self.url}{repo.page}/commit/{made.id}"
        return as_json({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""})

    def apply(self, operation: str, value: Mapping[str, Any], files: dict[str, StoredFile]) -> None:
        """One line of a commit, done to the files of the branch."""
        path = value["path"]
        if operation == "file":
            content = base64.b64decode(value["content"])
            errors = card_errors(content.decode(errors="replace")) if path == "README.md" else []
            if errors:
                raise Refusal(400, "; ".join(errors))
            files[path] = self.store(content)
        elif operation == "lfsFile":
            sha256, there = value["oid"], self.storage / value["oid"]
            if not there.exists():
                raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {path}")
            size = there.stat().st_size
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
            files[path] = StoredFile(sha256, size, git_id(pointer.encode()), True)
        else:
            folder = path.rstrip("/") + "/"
            is_file = operation == "deletedFile"
            gone = [name for name in files if (name == path if is_file else name.startswith(folder))]
            if not gone:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
            for name in gone:
                del files[name]

    # Collections

    @route("POST", "/api/collections")
    def create_collection(self, request: Request) -> Answer:
        wanted = request.json()
        owner, title, description = wanted["namespace"], wanted["title"], wanted.get("description")
        self.check_write(request, owner, "collection.write", "create a collection")
        check_length(description, 150, "description")
        words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        slug = f"{owner}/{words}-{object_id(owner, title)}"
        if slug in self.collections:
            raise Refusal(409, "This collection exists already", slug=slug)
        shown = {"slug": slug, "title": title, "owner": owner, "description": description, "theme": "blue"}
        state = {"private": bool(wanted.get("private")), "items": [], "lastUpdated": now(), "position": 0, "upvotes": 0}
        self.collections[slug] = shown | state
        return as_json(self.collections[slug])

    @route("GET", "/api/collections")
    def list_collections(self, request: Request) -> Answer:
        """No more than four items of each, as on the Hub, and no position, which the client counts itself."""
        found = []
        for collection in self.collections.values():
            items = {f"{item['type']}s/{item['id']}" for item in collection["items"]}
            owner = collection["owner"]
            is_meant = owner in request.query.get("owner", [owner]) and set(request.query.get("item", ())) <= items
            if is_meant and self.sees(request, owner, collection):
                found.append({**collection, "items": collection["items"][:4]})
                del found[-1]["position"]
        return as_json(found)

    @route("GET", SLUG)
    def get_collection(self, request: Request, slug: str) -> Answer:
        found = self.collections.get(slug)
        if found is None or not self.sees(request, found["owner"], found):
            raise Refusal(404, "Collection not found")
        return as_json(found)

    @route("POST", f"{SLUG}/items")
    def add_collection_item(self, request: Request, slug: str) -> Answer:
        self.get_collection(request, slug)
        collection, wanted = self.collections[slug], request.json()
        kind, name, note = wanted["item"]["type"], wanted["item"]["id"], wanted.get("note")
        self.check_write(request, collection["owner"], "collection.write", "change a collection")
        check_length(note, 500, "note")
        self.open(request, kind, name)
        if any((item["type"], item["id"]) == (kind, name) for item in collection["items"]):
            raise Refusal(409, "This item is in the collection already")
        item = {"_id": object_id(slug, kind, name), "id": name, "type": kind, "position": len(collection["items"])}
        collection["items"].append(item if note is None else {**item, "note": {"text": note, "html": note}})
        return as_json(collection)

    @route("GET", rf"/api/{REPO}(?:/revision{REVISION})?")
    def repository_info(self, request: Request, repo: Repository, revision: str) -> Answer:
        return as_json(self.info(repo, repo.at(revision or "main"), request.asks("blobs")))


def is_private(wanted: Mapping[str, Any], otherwise: bool) -> bool:
    return wanted["visibility"] == "private" if "visibility" in wanted else wanted.get("private", otherwise)


def check_length(text: str | None, most: int, name: str) -> None:
    if text is not None and len(text) > most:
        raise Refusal(400, f"Too big: expected string to have <{most} characters at {name}")


class HubServer(HubApi):
    """The Hub while the context lasts; arguments and account as HubApi.

    Attributes:
        url: http://127.0.0.1:PORT.
        requests: method, path without query, and status of every request, in order; status 0: cut before an answer.
        rules: of the faults; may be emptied.
    """

    def __init__(self, root: Path, **account: Any) -> None:
        super().__init__(root, **account)
        self.requests: list[tuple[str, str, int]] = []
        self.rules: list[Rule] = []
        self.defects: list[str] = []
        self.closing = threading.Event()

    def __enter__(self) -> "HubServer":
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.closing.set()
        self._server.close()
        self._thread.join()
        assert kind is not None or not self.defects, self.defects[0]

    def environment(self, home: Path) -> dict[str, str]:
        """What a client process needs in its environment before it imports huggingface_hub; `home` holds its caches."""
        caches = {"HF_HOME": home, "HF_HUB_CACHE": home / "hub", "HF_DATASETS_CACHE": home / "datasets"}
        return {
            **{"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, **{name: str(path) for name, path in caches.items()}},
            **dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "0"),
            **dict.fromkeys(("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"), "1"),
            **{"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HTTPS_PROXY": "", "https_proxy": ""},
        }

    def fault(self, method: str, path: str, fault: Fault, times: int | None = 1) -> None:
        """Requests whose method and path match as a whole go wrong, so many times or always (None)."""
        self.rules.append(Rule(method, path, fault, times))

    def seen(self, method: str, path: str) -> list[int]:
        """Statuses of the answers to requests whose method and path match as a whole."""
        return [status for verb, at, status in self.requests if re.fullmatch(method, verb) and re.fullmatch(path, at)]

    def files(self, repo: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        """The files of a branch, tag or commit, as the storage holds them."""
        return {path: self.read(at) for path, at in self.repositories[repo_type, repo].at(revision).files.items()}

    def commits(self, repo: str, revision: str = "main", repo_type: str = "model") -> list[tuple[str, str]]:
        """Id and title of commits, newest first."""
        return [(at.id, at.title) for at in self.repositories[repo_type, repo].at(revision).history()]

    def take_fault(self, method: str, path: str) -> Fault:
        with self.lock:
            for rule in self.rules:
                if rule.times != 0 and re.fullmatch(rule.method, method) and re.fullmatch(rule.path, path):
                    rule.times = rule.times and rule.times - 1
                    return rule.fault
        return Fault()

    def respond(self, request: Request) -> Answer:
        """The answer, or what the fault makes of it."""
        fault = request.fault
        answer = Answer(200)
        if fault.status is None or fault.apply_first:
            try:
                answer = self.answer(request)
            except Refusal as refusal:
                answer = refusal.answer
            except Exception:
                self.defects.append(traceback.format_exc())
                answer = as_json({"error": self.defects[-1]}, 500)
        if fault.status is not None:
            wait = {} if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
            return Refusal(fault.status, fault.message, fault.code, wait).answer
        return answer._replace(content=damaged(answer.content)) if fault.corrupt else answer


class _Server(ThreadingHTTPServer):
    """Knows its connections, to end them and their threads."""

    daemon_threads = False

    def __init__(self, hub: HubServer) -> None:
        self.hub = hub
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients, which may leave at any time."""
        if not isinstance(sys.exception(), OSError):
            self.hub.defects.append(traceback.format_exc())

    def close(self) -> None:
        self.shutdown()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the hub keeps the requests."""

    def serve(self) -> None:
        hub, (path, _, query) = self.server.hub, self.path.partition("?")
        fault = hub.take_fault(self.command, path)
        body = self.read_body(fault.cut_body_after_bytes)
        if fault.cut_body_after_bytes is not None:
            hub.requests.append((self.command, path, 0))
            return self.hang_up()
        is_signed = self.headers.get("Authorization") == f"Bearer {hub.token}"
        answer = hub.respond(Request(self.command, path, parse_qs(query), self.headers, body, fault, is_signed))
        hub.requests.append((self.command, path, answer.status))
        hub.closing.wait(fault.delay_seconds)
        self.send_response(answer.status)
        for name, value in {"X-Request-Id": "test", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content[: fault.cut_answer_after_bytes])
        if fault.cut_answer_after_bytes is not None:
            self.hang_up()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def read_body(self, most: int | None) -> bytes:
        """The body, or so many bytes from its start (those of a chunked one: at least)."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length if most is None else min(length, most))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size + 2)[:size]
            if most is not None and len(body) >= most:
                return body
        self.rfile.readline()
        return body

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
