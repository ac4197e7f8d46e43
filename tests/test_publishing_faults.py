"""Pushes to a Hub that fails: repeated where that helps, else one message, and the same command goes on from there."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from finetune_runs import flags
from hub_server import Answer, Fault, HubServer, Request
from hub_worker import Done, HubWorker

REPOSITORY = "ada/tiny"
TITLES = ["Card", "Model of finetune_classification", "initial commit"]
COMMAND = ("run", "--publish.repo_id", REPOSITORY, "--publish.git_tag", "v1", "--publish.collection", "Tiny")
SIGNATURE = "5ec7e7"


class Hub(HubServer):
    """Signs the addresses of large files, as the Hub does, and may answer with a page.

    Attributes:
        page_for: method and path of requests (a regular expression) that are answered with a page that is not JSON.
    """

    page_for = ""

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        signed = re.sub(rb"(/storage/\w+)", rb"\1?X-Amz-Signature=" + SIGNATURE.encode(), answer.content)
        return answer._replace(content=signed) if request.path.endswith("/objects/batch") else answer

    def respond(self, request: Request) -> Answer:
        if self.page_for and re.fullmatch(self.page_for, f"{request.method} {request.path}"):
            return Answer(200, b"<html>Log in to this network</html>", {"Content-Type": "text/html"})
        return super().respond(request)

    def clear(self) -> None:
        """As it was when it was new."""
        for held in (self.requests, self.rules, self.repositories, self.collections):
            held.clear()
        for stored in self.storage.iterdir():
            stored.unlink()
        self.page_for = ""


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def worker(shared_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubWorker]:
    with HubWorker(shared_hub.environment(tmp_path_factory.mktemp("home"))) as worker:
        yield worker


@pytest.fixture(scope="module")
def finished(worker: HubWorker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which was made beside its rows, so that its config holds no absolute path."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        arguments = flags("classification", Path("."), Path("run"), "--evaluation.baselines", "false", steps=2)
    done = worker.run("finetune_classification", *arguments, cwd=folder)
    assert done.code == 0, done.err
    return folder / "run"


@pytest.fixture
def hub(shared_hub: Hub) -> Hub:
    shared_hub.clear()
    return shared_hub


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Pushing:
    """A finished run of its own, and what holds after each of its pushes, however they end."""

    def __init__(self, hub: Hub, worker: HubWorker, run: Path) -> None:
        self.hub, self.worker, self.run = hub, worker, run
        self.before = contents(run)

    def __call__(self, *more: str) -> Done:
        done = self.worker.run("publish_to_hub", *COMMAND, *more, cwd=self.run.parent)
        told = done.out + done.err
        assert "Traceback" not in told, told
        assert self.hub.token not in told and SIGNATURE not in told and not re.search(r"://\S*\?(?!\(hidden\))", told)
        assert list(self.run.glob(".publish-*")) == []
        for repository in self.hub.repositories.values():
            for commit in repository.by_id.values():
                assert "README.md" not in commit.files or "model.safetensors" in commit.files
        return done

    def is_refused(self, *more: str) -> tuple[str, Done]:
        """The one message of a push that fails."""
        done = self(*more)
        messages = re.findall(r"^(?:HubError|ConfigError|CheckpointError): .*", done.err, re.MULTILINE)
        assert done.code == 2 and len(messages) == 1, done
        assert done.err.rstrip().endswith(messages[0]) and "published" not in done.out
        assert contents(self.run) == self.before
        return messages[0], done

    def succeeds(self, *more: str) -> Done:
        done = self(*more)
        assert done.code == 0 and "Loaded back" in done.err, done
        assert done.out.startswith(f"published {self.hub.url}/{REPOSITORY}\n")
        known = ("model/README.md", "published.json")
        after = contents(self.run)
        assert {name: after[name] for name in after if name not in known} == {
            name: self.before[name] for name in self.before if name not in known
        }
        self.check_repository()
        self.before = after
        return done

    def check_repository(self) -> None:
        """The Hub holds what was pushed, once, and nothing else."""
        held = self.hub.files(REPOSITORY)
        names = {path.name for path in (self.run / "model").iterdir()}
        records = {"config.yaml", "environment.json", "plan.json", "receipt.json", "metrics.json", "metrics.jsonl"}
        assert set(held) == {".gitattributes"} | names | {f"run/{name}" for name in records}
        for name, content in held.items():
            here = self.run / (name.removeprefix("run/") if name.startswith("run/") else f"model/{name}")
            assert name in ("README.md", ".gitattributes") or content == here.read_bytes(), name
        assert REPOSITORY.encode() in held["README.md"]
        commits = self.hub.commits(REPOSITORY)
        assert [title for _, title in commits] == TITLES
        assert self.hub.commits(REPOSITORY, "v1") == commits
        items = [[item["id"] for item in collection["items"]] for collection in self.hub.collections.values()]
        assert items == [[REPOSITORY]]


@pytest.fixture
def push(hub: Hub, worker: HubWorker, finished: Path, tmp_path: Path) -> Pushing:
    shutil.copytree(finished, tmp_path / "run")
    return Pushing(hub, worker, tmp_path / "run")


REPO = f"/api/models/{REPOSITORY}"
LFS = rf"/{REPOSITORY}\.git/info/lfs/objects"
# What a push asks for, in this order: method, path, and how many such requests there are before the one that is meant.
PLACES = {
    "the account": ("GET", "/api/whoami-v2", 0),
    "the repository": ("GET", REPO, 0),
    "making it": ("POST", "/api/repos/create", 0),
    "plan of the first commit": ("POST", f"{REPO}/preupload/main", 0),
    "plan of large files": ("POST", f"{LFS}/batch", 0),
    "a large file": ("PUT", "/storage/.*", 0),
    "its check": ("POST", f"{LFS}/verify", 0),
    "the first commit": ("POST", f"{REPO}/commit/main", 0),
    "the card's metadata": ("POST", "/api/validate-yaml", 0),
    "plan of the card": ("POST", f"{REPO}/preupload/main", 1),
    "the card": ("POST", f"{REPO}/commit/main", 1),
    "tags": ("GET", f"{REPO}/refs", 0),
    "the tag": ("POST", f"{REPO}/tag/.*", 0),
    "collections": ("GET", "/api/collections", 0),
    "making a collection": ("POST", "/api/collections", 0),
    "adding to it": ("POST", "/api/collections/.*/items", 0),
    "names of files": ("GET", f"{REPO}/tree/.*", 0),
    "a file's header": ("HEAD", f"/{REPOSITORY}/resolve/.*/tokenizer.json", 0),
    "a file": ("GET", f"/{REPOSITORY}/resolve/.*/tokenizer.json", 0),
}
CUT = Fault(cut_answer_after_bytes=0)


def spoil(hub: Hub, place: str, fault: Fault, times: int | None) -> None:
    """Requests of a place go wrong, the first ones excepted."""
    method, path, before = PLACES[place]
    if before:
        hub.fault(method, path, Fault(), times=before)
    hub.fault(method, path, fault, times)


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_pass(place: str, hub: Hub, push: Pushing) -> None:
    """All in one push: each is followed by the next one."""
    for fault in (Fault(status=500), Fault(status=503), Fault(status=429, retry_after_seconds=7)):
        spoil(hub, place, fault, 1)
    done = push.succeeds()
    assert {7, 8} & set(done.waits), done.waits  # huggingface_hub adds one second where it waits itself


ADVICE = {
    401: "hf auth login",
    403: "Make one with write rights",
    404: "no such repository",
    409: "run the same command again",
    412: "run the same command again",
    413: "no file as large",
    429: "run the same command again",
    500: "run the same command again",
    503: "run the same command again",
}


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_stay(place: str, hub: Hub, push: Pushing) -> None:
    """One message for each, nothing half done; when it is over, the same command succeeds."""
    for status, advice in ADVICE.items():
        hub.clear()
        spoil(hub, place, Fault(status=status, message="made up"), None)
        message, _ = push.is_refused()
        print(status, message)
    hub.rules.clear()
    push.succeeds()
