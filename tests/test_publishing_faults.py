"""Pushes to a Hub that fails: repeated where that helps, else one message, and the same command goes on from there."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from finetune_runs import flags
from hub_server import Answer, Fault, HubServer, Request
from hub_worker import Done, HubWorker

from pipelines.publishing.rights import MARK

REPOSITORY = "ada/tiny"
TITLES = ["Card", "Model of finetune_classification", "initial commit"]
WEIGHTS = "model.safetensors"
COMMAND = ("run", "--publish.repo_id", REPOSITORY, "--publish.git_tag", "v1", "--publish.collection", "Tiny")
SHORT = ("--publish.load_back", "false")
SIGNED = "X-Amz-Signature=5ec7e7"


class Hub(HubServer):
    """Signs the addresses of large files, keeps them on another host, as the Hub does, and may answer with a page.

    Attributes:
        page_for: method and path of requests (a regular expression) that are answered with a page that is not JSON.
    """

    page_for = ""

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if request.path.endswith("/objects/batch"):
            return answer._replace(content=re.sub(rb"(/storage/\w+)", rb"\1?" + SIGNED.encode(), answer.content))
        if "X-Linked-ETag" in answer.headers:
            elsewhere = self.url.replace("127.0.0.1", "localhost")
            content = answer.headers["X-Linked-ETag"].strip('"')
            return Answer(302, b"", {**answer.headers, "Location": f"{elsewhere}/storage/{content}?{SIGNED}"})
        return answer

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
    hosts = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    with HubWorker(shared_hub.environment(tmp_path_factory.mktemp("home")) | hosts) as worker:
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
        assert self.hub.token not in told and SIGNED not in told and not re.search(r"://\S*\?(?!\(hidden\))", told)
        assert list(self.run.glob(".publish-*")) == []
        for repository in self.hub.repositories.values():
            for commit in repository.by_id.values():
                assert "README.md" not in commit.files or WEIGHTS in commit.files or commit.title not in TITLES
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
        loads_back = "--publish.load_back" not in more
        assert done.code == 0 and ("Loaded back" in done.err) == loads_back, done
        assert done.out.startswith(f"{'published' if loads_back else 'pushed'} {self.hub.url}/{REPOSITORY}\n")
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
        records = {
            "config.yaml",
            "environment.json",
            "plan.json",
            "proof.json",
            "receipt.json",
            "metrics.json",
            "metrics.jsonl",
        }
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
    "a large file back": ("GET", "/storage/.*", 0),
}
LOADING = list(PLACES)[list(PLACES).index("names of files") :]
BEFORE_CARD = list(PLACES)[: list(PLACES).index("tags")]
BEFORE_FILES = list(PLACES)[: list(PLACES).index("the card's metadata")]
PLACES_OF_SECOND = {
    "the right to write": ("GET", f"{REPO}/auth-check/write", 0),
    "the header of the card that is there": ("HEAD", f"/{REPOSITORY}/resolve/main/README.md", 0),
    "the card that is there": ("GET", f"/{REPOSITORY}/resolve/main/README.md", 0),
    "the last commit": ("GET", f"{REPO}/revision/main", 0),
}
CUT = Fault(cut_answer_after_bytes=0)


def spoil(hub: Hub, place: str, *faults: Fault, times: int | None = 1) -> None:
    """Requests of a place go wrong in turn, those excepted that come before the one that is meant."""
    method, path, before = (PLACES | PLACES_OF_SECOND)[place]
    if before:
        hub.fault(method, path, Fault(), before)
    for fault in faults:
        hub.fault(method, path, fault, times)


def check_nothing_is_half_done(hub: Hub, place: str) -> None:
    """After a failure at a place: no card yet, or nothing yet but what a new repository holds."""
    if ("model", REPOSITORY) in hub.repositories:
        held = set(hub.files(REPOSITORY))
        assert place not in BEFORE_CARD or "README.md" not in held
        assert place not in BEFORE_FILES or held == {".gitattributes"}


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_pass(place: str, hub: Hub, push: Pushing) -> None:
    """All in one push: each is followed by the next one."""
    spoil(hub, place, Fault(status=500), Fault(status=503), Fault(status=429, retry_after_seconds=7))
    done = push.succeeds(*([] if place in LOADING else SHORT))
    assert {7, 8} & set(done.waits), done.waits  # huggingface_hub adds a second where it waits itself


ADVICE = {
    401: "hf auth login",
    403: "Make one with write rights",
    404: "no such repository",
    413: "no file as large",
    500: "run the same command again",
}
EVERY = ("the account", "the repository", "plan of the first commit", "a large file", "the first commit", "the card")
# Where huggingface_hub itself asks six times; "its check" is not made again, for then the Hub has the large file.
PATIENT = ("plan of large files", "its check", "plan of the card", "names of files")
BUSY = {409: "Another process", 412: "Another process", 429: "Wait some minutes", 503: "run the same command again"}


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_stay(place: str, hub: Hub, push: Pushing) -> None:
    """One message for each, and nothing half done; when it is over, the same command succeeds."""
    for status, advice in ADVICE.items():
        if place not in EVERY and (status in (401, 404, 413) or (status == 500 and place in PATIENT)):
            continue
        hub.clear()
        spoil(hub, place, Fault(status=status, message=""), times=None)
        message, done = push.is_refused()
        assert f"The Hub answered {status}" in message and advice in message and "5 times" * (status == 500) in message
        assert status == 500 or done.waits == []
        check_nothing_is_half_done(hub, place)
    hub.rules.clear()
    push.succeeds()


@pytest.mark.parametrize("place", ["the account", "the first commit"])
def test_a_hub_that_stays_busy(place: str, hub: Hub, push: Pushing) -> None:
    for status, advice in BUSY.items():
        hub.clear()
        spoil(hub, place, Fault(status=status), times=None)
        message, _ = push.is_refused()
        assert f"The Hub answered {status} 5 times" in message and advice in message
    hub.rules.clear()
    push.succeeds()


@pytest.mark.parametrize("place", PLACES_OF_SECOND)
def test_failures_of_a_second_push(place: str, hub: Hub, push: Pushing) -> None:
    push.succeeds()
    for status in (403, 500):
        spoil(hub, place, Fault(status=status, message=""), times=None)
        message, _ = push.is_refused()
        assert f"The Hub answered {status}" in message and ADVICE[status] in message
        hub.rules.clear()
    spoil(hub, place, Fault(status=500), CUT)
    push.succeeds()


OWN_WORDS = ("the account", "making it", "plan of the first commit", "a large file", "the first commit", "the tag")


@pytest.mark.parametrize("place", OWN_WORDS)
def test_the_hubs_own_words_are_told(place: str, hub: Hub, push: Pushing) -> None:
    spoil(hub, place, Fault(status=403, message="Private storage is full"), times=None)
    message, _ = push.is_refused()
    assert ": Private storage is full. " in message and "://127" not in message


LOSABLE = ("making it", "a large file", "its check", "the first commit", "the card", "the tag")


@pytest.mark.parametrize("fault", [Fault(status=500, apply_first=True), CUT], ids=["500", "cut"])
@pytest.mark.parametrize("place", [*LOSABLE, "making a collection", "adding to it"])
def test_lost_answers(place: str, fault: Fault, hub: Hub, push: Pushing) -> None:
    """What was done is not done again: see check_repository."""
    spoil(hub, place, fault)
    push.succeeds(*SHORT)


@pytest.mark.parametrize("fault", [Fault(status=500, apply_first=True), CUT], ids=["500", "cut"])
def test_a_lost_answer_of_a_commit_that_deletes(fault: Fault, hub: Hub, push: Pushing) -> None:
    """Weights of an older push are deleted with the first commit; files of others stay."""
    push.succeeds()
    upload(push, "model-00001-of-00002.safetensors", MARK)
    upload(push, "run/notes.txt")
    spoil(hub, "the first commit", fault)
    done = push()
    assert done.code == 0, done
    assert "model-00001-of-00002.safetensors" not in hub.files(REPOSITORY)
    assert "run/notes.txt" in hub.files(REPOSITORY)
    assert [title for _, title in hub.commits(REPOSITORY)] == [TITLES[1], "Upload", "Upload", *TITLES]


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_a_lost_answer_of_a_tag_that_moves(method: str, hub: Hub, push: Pushing) -> None:
    push.succeeds()
    upload(push, "notes.txt")
    hub.fault(method, f"{REPO}/tag/.*", CUT)
    done = push()
    assert done.code == 0, done
    assert hub.commits(REPOSITORY, "v1") == hub.commits(REPOSITORY) and hub.commits(REPOSITORY)[0][1] == "Upload"


def test_a_lost_answer_of_a_branch(hub: Hub, push: Pushing) -> None:
    hub.fault("POST", f"{REPO}/branch/.*", CUT)
    done = push("--publish.revision", "trial")
    assert done.code == 0, done
    assert [title for _, title in hub.commits(REPOSITORY, "trial")] == TITLES
    assert [title for _, title in hub.commits(REPOSITORY)] == TITLES[2:]


def upload(push: Pushing, name: str, description: str = "") -> None:
    """Somebody else puts a file into the repository, or a push with the MARK as `description` does."""
    code = f"""
from huggingface_hub import HfApi
put = dict(path_in_repo="{name}", repo_id="{REPOSITORY}", commit_message="Upload")
HfApi().upload_file(path_or_fileobj=b"old", commit_description="{description}", **put)
"""
    done = push.worker.execute(code, push.run)
    assert done.code == 0, done.err


@pytest.mark.parametrize("place", ["a large file", "the first commit", "the card"])
def test_connections_cut_in_the_middle_of_what_is_sent(place: str, hub: Hub, push: Pushing) -> None:
    fault = Fault(cut_body_after_bytes=100)
    spoil(hub, place, fault, times=None)
    message, _ = push.is_refused()
    assert "The Hub cut the connection 5 times" in message and "run the same command again" in message
    check_nothing_is_half_done(hub, place)
    hub.clear()
    spoil(hub, place, fault)
    push.succeeds()


@pytest.mark.parametrize("place", ["names of files", "a file", "a large file back"])
def test_connections_cut_in_the_middle_of_what_is_loaded_back(place: str, hub: Hub, push: Pushing) -> None:
    fault = Fault(cut_answer_after_bytes=100)
    spoil(hub, place, fault, times=None)
    message, _ = push.is_refused()
    assert "The Hub cut the connection 5 times" in message and "run the same command again" in message
    hub.rules.clear()
    spoil(hub, place, fault)
    push.succeeds()


PAGES = ("the account", "the repository", "making it", "plan of large files", "the first commit", "the card")


@pytest.mark.parametrize("place", [*PAGES, "collections", "names of files"])
def test_pages_that_are_not_json(place: str, hub: Hub, push: Pushing) -> None:
    """As of a network that wants a login; the page answers from the first such request on."""
    method, path, before = PLACES[place]
    hub.page_for = f"{method} {path}"
    message, _ = push.is_refused()
    assert "The Hub answered with a page that is not JSON" in message and "run the same command again" in message
    check_nothing_is_half_done(hub, place)
    hub.page_for = ""
    push.succeeds()


@pytest.mark.parametrize("place", ["a large file", "a file's header", "a file", "a large file back"])
def test_pages_in_place_of_files(place: str, hub: Hub, push: Pushing) -> None:
    method, path, _ = PLACES[place]
    hub.page_for = f"{method} {path}"
    push.is_refused()
    hub.page_for = ""
    push.succeeds()


FILES = {
    "the card": ("/resolve/[0-9a-f]{40}/README.md", "README.md"),
    "the config": ("/resolve/[0-9a-f]{40}/config.json", "config.json"),
    "the weights": ("/storage/.*", WEIGHTS),
}


@pytest.mark.parametrize(("path", "name"), FILES.values(), ids=FILES)
def test_damaged_downloads(path: str, name: str, hub: Hub, push: Pushing) -> None:
    hub.fault("GET", f".*{path}", Fault(corrupt=True), times=None)
    message, _ = push.is_refused()
    assert message.startswith(f"HubError: {name} of {REPOSITORY} at ") and "SHA-256" in message
    hub.rules.clear()
    hub.fault("GET", f".*{path}", Fault(corrupt=True))
    done = push.succeeds()
    assert f"{name} came back damaged; downloading again" in done.err


def test_a_card_on_the_hub_that_is_no_text(hub: Hub, push: Pushing) -> None:
    push.succeeds()
    hub.fault("GET", f"/{REPOSITORY}/resolve/main/README.md", Fault(corrupt=True))
    done = push()
    assert done.code in (0, 2), done
    push.succeeds()


def test_damage_in_the_storage_of_the_hub(hub: Hub, push: Pushing) -> None:
    hub.fault("PUT", "/storage/.*", Fault(corrupt=True))
    message, _ = push.is_refused()
    assert message.startswith(f"HubError: {WEIGHTS} of {REPOSITORY} at ") and "Delete the file" in message
    rotten = hub.repositories["model", REPOSITORY].at("main").files[WEIGHTS]
    delete = f"from huggingface_hub import HfApi; HfApi().delete_file({WEIGHTS!r}, {REPOSITORY!r})"
    assert push.worker.execute(delete, push.run).code == 0
    (hub.storage / rotten.sha256).unlink()
    done = push()
    assert done.code == 0 and "Loaded back" in done.err, done
    assert hub.files(REPOSITORY)[WEIGHTS] == push.before[f"model/{WEIGHTS}"]


@pytest.fixture
def impatient(worker: HubWorker, tmp_path: Path) -> Iterator[None]:
    """The client waits 0.05 seconds for what it loads, in place of the ten that are HF_HUB_DOWNLOAD_TIMEOUT."""
    code = "from huggingface_hub import constants; constants.HF_HUB_DOWNLOAD_TIMEOUT = constants.HF_HUB_ETAG_TIMEOUT = "
    assert worker.execute(f"{code}0.05", tmp_path).code == 0
    yield
    assert worker.execute(f"{code}10", tmp_path).code == 0


LATE = Fault(delay_seconds=0.2)


@pytest.mark.parametrize("place", ["a file's header", "a file", "a large file back"])
def test_a_hub_that_answers_too_late_once(place: str, hub: Hub, push: Pushing, impatient: None) -> None:
    spoil(hub, place, LATE)
    push.succeeds()


def test_a_hub_that_always_answers_too_late(hub: Hub, push: Pushing, impatient: None) -> None:
    spoil(hub, "a file", LATE, times=None)
    message, _ = push.is_refused()
    assert "The Hub did not answer in time 5 times" in message and "run the same command again" in message
    hub.rules.clear()
    push.succeeds()


def test_no_request_waits_for_ever(worker: HubWorker, tmp_path: Path) -> None:
    """huggingface_hub itself sets no limit for most of what a push asks for."""
    done = worker.execute(
        """
from huggingface_hub import get_session
from pipelines.publishing.hub_calls import call

limit = call("asking", lambda: get_session().timeout)
assert None not in (limit.connect, limit.read, limit.write), limit
""",
        tmp_path,
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize(("asked", "waited"), [(7, [7.0]), (0, [0.0]), (3600, [300.0])])
def test_the_wait_is_what_the_hub_asks_for(asked: int, waited: list[float], hub: Hub, push: Pushing) -> None:
    spoil(hub, "the account", Fault(status=429, retry_after_seconds=asked))
    done = push.succeeds(*SHORT)
    assert done.waits == waited and f"again in {waited[0]:.0f} s (1 of 4)" in done.err


def test_waits_double(hub: Hub, push: Pushing) -> None:
    spoil(hub, "the account", *[Fault(status=503)] * 4)
    assert push.succeeds(*SHORT).waits == [2.0, 4.0, 8.0, 16.0]


def test_the_wait_that_the_hubs_rate_limit_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub tells by RateLimit when it takes requests again: https://huggingface.co/docs/hub/rate-limits."""
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status

    from pipelines.publishing.hub_calls import call

    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    told = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    request = httpx2.Request("GET", "https://huggingface.co/api/whoami-v2")
    answers = iter([httpx2.Response(429, headers=told, request=request), httpx2.Response(200, request=request)])
    call("asking", lambda: hf_raise_for_status(next(answers)))
    assert len(waits) == 1 and 55 <= waits[0] <= 57


@pytest.mark.parametrize("place", ["a large file", "the first commit", "the card", "a file"])
def test_ctrl_c(place: str, hub: Hub, push: Pushing) -> None:
    push.worker.execute("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)", push.run)
    method, path, before = PLACES[place]
    spoil(hub, place, Fault(delay_seconds=2))
    ended = threading.Event()

    def interrupt() -> None:
        while len(hub.seen(method, path)) <= before and not ended.wait(0.01):
            pass
        if not ended.wait(0.1):
            os.kill(push.worker._process.pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        done = push()
    finally:
        ended.set()
        thread.join()
    assert done.code == 130 and "Interrupted." in done.err and "run the same command again" in done.err, done
    assert contents(push.run) == push.before
    hub.rules.clear()
    push.succeeds()


def test_a_run_folder_that_is_in_use(hub: Hub, push: Pushing) -> None:
    with (push.run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message, _ = push.is_refused()
        assert "Another process is running in run" in message
    assert hub.seen("POST|PUT", ".*") == []
    push.succeeds()
