"""The Hub of these tests, as the unmodified client sees it: every route, every fault, and the worker process."""

import json
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Fault, HubServer, card_errors
from hub_worker import HubWorker

PRELUDE = """
import json, os
from pathlib import Path
from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import HfHubHTTPError

api = HfApi()


def failure(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]


def show(value):
    print(json.dumps(value, default=str))


"""
RESOLVE = "/ada/.*/resolve/.*"


class Client:
    """Runs source against the hub in the worker and returns what it shows last."""

    def __init__(self, worker: HubWorker, folder: Path) -> None:
        self.worker, self.folder = worker, folder
        self.waits: list[float] = []

    def __call__(self, code: str) -> Any:
        done = self.worker.execute(PRELUDE + textwrap.dedent(code), self.folder)
        assert done.code == 0, done.err
        self.waits = done.waits
        return json.loads(done.out.splitlines()[-1]) if done.out else None


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub"), orgs={"lab": "write", "club": "read"}) as hub:
        yield hub


@pytest.fixture(scope="module")
def worker(shared_hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubWorker]:
    with HubWorker(shared_hub.environment(tmp_path_factory.mktemp("home"))) as worker:
        yield worker


@pytest.fixture
def hub(shared_hub: HubServer) -> Iterator[HubServer]:
    """The shared hub with an empty record, no faults and a token that may write."""
    shared_hub.requests.clear()
    yield shared_hub
    shared_hub.rules.clear()
    shared_hub.role, shared_hub.scopes = "write", {}


@pytest.fixture
def client(hub: HubServer, worker: HubWorker, tmp_path: Path) -> Client:
    return Client(worker, tmp_path)


def folder_of(path: Path, **files: bytes) -> dict[str, bytes]:
    """Writes files, `__` in a name standing for a folder, and returns them by their path in a repository."""
    named = {name.replace("__", "/").replace("_dot_", "."): content for name, content in files.items()}
    for name, content in named.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return named


BYTES = bytes(range(256)) * 1_000


def test_the_account(hub: HubServer, client: Client) -> None:
    who = client("show(api.whoami())")
    assert (who["type"], who["name"], who["auth"]["accessToken"]["role"]) == ("user", "ada", "write")
    assert {org["name"]: org["roleInOrg"] for org in who["orgs"]} == {"lab": "write", "club": "read"}
    hub.role, hub.scopes = "fineGrained", {"ada/one": ["repo.write"], "lab": ["repo.content.read"]}
    token = client("show(api.whoami())")["auth"]["accessToken"]
    assert token["role"] == "fineGrained"
    assert [(scope["entity"]["type"], scope["entity"]["name"]) for scope in token["fineGrained"]["scoped"]] == [
        ("model", "ada/one"),
        ("org", "lab"),
    ]
    assert client("show(failure(api.whoami, token='hf_wrong'))") == ["HfHubHTTPError", 401]


def test_repositories_are_created_once_and_in_namespaces_of_ones_own(hub: HubServer, client: Client) -> None:
    found = client("""
        created = [api.create_repo("ada/born", private=True).repo_id, api.create_repo("lab/born").repo_id]
        again = failure(api.create_repo, "ada/born")
        same = api.create_repo("ada/born", exist_ok=True).url
        own = api.create_repo("bare", repo_type="dataset")
        refused = [failure(api.create_repo, name) for name in ("club/born", "eve/born")]
        private = [api.model_info("ada/born").private, api.model_info("lab/born").private]
        api.update_repo_settings("ada/born", private=False)
        private.append(api.model_info("ada/born").private)
        api.delete_repo("lab/born")
        api.delete_repo("lab/born", missing_ok=True)
        gone = failure(api.delete_repo, "lab/born")
        show([created, again, same, [own.repo_id, own.repo_type], refused, private, gone])
    """)
    assert found == [
        ["ada/born", "lab/born"],
        ["HfHubHTTPError", 409],
        f"{hub.url}/ada/born",
        ["ada/bare", "dataset"],
        [["HfHubHTTPError", 403]] * 2,
        [True, False, False],
        ["RepositoryNotFoundError", 404],
    ]
    assert hub.seen("POST", "/api/repos/create") == [200, 200, 409, 409, 200, 403, 403]
    assert hub.commits("ada/born")[0][1] == "initial commit"


def test_who_may_read_and_write(hub: HubServer, client: Client) -> None:
    client("""
        for name in ("ada/secret", "ada/open"):
            api.create_repo(name, private=name == "ada/secret")
            api.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id=name)
    """)
    assert client("show(failure(api.model_info, 'ada/open', token='hf_wrong'))") == ["HfHubHTTPError", 401]
    unseen = """
        seen = [info.id for info in api.list_models(author="ada", token=False)]
        download = failure(api.hf_hub_download, "ada/secret", "a.txt", token=False)
        show([failure(api.model_info, "ada/secret", token=False), download, "ada/secret" in seen, "ada/open" in seen])
    """
    assert client(unseen) == [["RepositoryNotFoundError", 401], ["RepositoryNotFoundError", 401], False, True]
    check = """
        checks = [failure(api.auth_check, f"ada/{name}", write=write)
                  for name in ("secret", "open") for write in (False, True)]
        upload = failure(api.upload_file, path_or_fileobj=b"new", path_in_repo="a.txt", repo_id="ada/open")
        show([checks, upload, failure(api.create_repo, "ada/other")])
    """
    denied, unknown = ["HfHubHTTPError", 403], ["RepositoryNotFoundError", 404]
    hub.role = "read"
    assert client(check) == [[None, denied, None, denied], denied, denied]
    hub.role, hub.scopes = "fineGrained", {"ada/open": ["repo.write"]}
    assert client(check) == [[unknown, unknown, None, None], None, denied]
    assert [title for _, title in hub.commits("ada/open")][0] == "Upload a.txt with huggingface_hub"


def test_a_folder_arrives_byte_for_byte(hub: HubServer, client: Client, tmp_path: Path) -> None:
    sent = folder_of(
        tmp_path / "folder",
        README_dot_md=b"---\nlicense: mit\ntags: [tiny]\npipeline_tag: fill-mask\n---\n# Tiny\n",
        sub__notes_dot_txt="naïve\r\n".encode(),
        empty_dot_txt=b"",
        weights_dot_safetensors=BYTES,
        sub__more__binary=b"\0\1\2",
    )
    found = client("""
        api.create_repo("ada/folder")
        commits = [api.upload_folder(repo_id="ada/folder", folder_path="folder").oid for _ in range(2)]
        got = Path(api.snapshot_download("ada/folder"))
        files = sorted(str(path.relative_to(got)) for path in got.rglob("*") if path.is_file())
        same = [(got / name).read_bytes() == (Path("folder") / name).read_bytes() for name in files if name[0] != "."]
        info = api.model_info("ada/folder", files_metadata=True)
        sizes = {file.rfilename: [file.size, file.lfs and file.lfs.sha256] for file in info.siblings}
        listed = [model.id for model in api.list_models(filter="tiny")]
        show([commits, files, same, sizes, info.pipeline_tag, info.tags, listed])
    """)
    commits, names, same, sizes, task, tags, listed = found
    assert hub.files("ada/folder") == sent | {".gitattributes": hub.files("ada/folder")[".gitattributes"]}
    assert commits[0] == commits[1] == hub.commits("ada/folder")[0][0] and len(hub.commits("ada/folder")) == 2
    assert names == sorted(hub.files("ada/folder")) and same == [True] * len(sent)
    assert sizes["weights.safetensors"][0] == len(BYTES) and sizes["empty.txt"] == [0, None]
    assert sorted(name for name, (_, sha256) in sizes.items() if sha256) == ["sub/more/binary", "weights.safetensors"]
    assert (task, tags, listed) == ("fill-mask", ["tiny", "license:mit"], ["ada/folder"])
    assert hub.seen("PUT", "/storage/.*") == [200, 200] and hub.seen("POST", ".*/commit/main") == [200]
    assert hub.seen("POST", r"/ada/folder\.git/info/lfs/objects/verify") == [200, 200]


def test_branches_tags_and_history(hub: HubServer, client: Client) -> None:
    found = client("""
        api.create_repo("ada/refs")
        put = dict(repo_id="ada/refs", path_in_repo="a/b.txt")
        first = api.upload_file(path_or_fileobj=b"1", **put).oid
        api.create_branch("ada/refs", branch="dev/new")
        again = [failure(api.create_branch, "ada/refs", branch="dev/new")]
        api.create_branch("ada/refs", branch="dev/new", exist_ok=True)
        start = api.list_repo_commits("ada/refs")[-1].commit_id
        stale = failure(api.upload_file, path_or_fileobj=b"0", parent_commit=start, **put)
        second = api.upload_file(path_or_fileobj=b"2", revision="dev/new", parent_commit=first, **put).oid
        api.create_tag("ada/refs", tag="v1", revision="dev/new")
        api.create_tag("ada/refs", tag="v2")
        again.append(failure(api.create_tag, "ada/refs", tag="v1"))
        refs = api.list_repo_refs("ada/refs")
        text = [Path(api.hf_hub_download("ada/refs", "a/b.txt", revision=revision)).read_text()
                for revision in (None, "dev/new", "v1", first)]
        api.delete_branch("ada/refs", branch="dev/new")
        api.delete_tag("ada/refs", tag="v2")
        missing = failure(api.model_info, "ada/refs", revision="dev/new")
        show([first, second, again, stale, {ref.name: ref.target_commit for ref in refs.branches},
              {ref.name: ref.target_commit for ref in refs.tags}, text, missing])
    """)
    first, second, again, stale, branches, tags, text, missing = found
    assert again == [["HfHubHTTPError", 409]] * 2 and stale == ["HfHubHTTPError", 412]
    assert branches == {"main": first, "dev/new": second} and tags == {"v1": second, "v2": first}
    assert text == ["1", "2", "2", "1"] and missing == ["RevisionNotFoundError", 404]
    assert [at for at, _ in hub.commits("ada/refs", "v1")][:2] == [second, first]
    assert hub.files("ada/refs", first)["a/b.txt"] == b"1" and hub.files("ada/refs", "v1")["a/b.txt"] == b"2"


def test_trees_and_deletions(hub: HubServer, client: Client, tmp_path: Path) -> None:
    folder_of(tmp_path / "folder", a_dot_txt=b"a", x__b_dot_txt=b"b", x__y__c_dot_bin=b"c", z__d_dot_txt=b"d")
    found = client("""
        from huggingface_hub import CommitOperationDelete, RepoFile

        api.create_repo("ada/tree", repo_type="dataset")
        here = dict(repo_id="ada/tree", repo_type="dataset")
        old = api.upload_folder(folder_path="folder", **here).oid
        new = api.upload_file(path_or_fileobj=b"new", path_in_repo="a.txt", **here).oid
        def names(*arguments, **options):
            return [entry.path for entry in api.list_repo_tree("ada/tree", *arguments, repo_type="dataset", **options)]
        trees = [names(), names("x"), names("x", recursive=True), len(names(recursive=True))]
        missing = failure(names, "nowhere")
        expanded = api.list_repo_tree(recursive=True, expand=True, **here)
        changes = {entry.path: entry.last_commit.oid for entry in expanded if isinstance(entry, RepoFile)}
        paths = api.get_paths_info(paths=["x", "x/y/c.bin", "nowhere"], **here)
        api.create_commit(operations=[CommitOperationDelete("x/"), CommitOperationDelete("a.txt")],
                          commit_message="less", **here)
        gone = failure(api.delete_file, "nowhere", **here)
        show([old, new, trees, missing, changes, [[type(path).__name__, path.path] for path in paths], names(), gone,
              [info.id for info in api.list_datasets(search="tree")]])
    """)
    old, new, trees, missing, changes, paths, left, gone, listed = found
    assert trees == [[".gitattributes", "a.txt", "x", "z"], ["x/b.txt", "x/y"], ["x/b.txt", "x/y", "x/y/c.bin"], 8]
    assert missing == ["RemoteEntryNotFoundError", 404]
    assert (changes["a.txt"], changes["x/b.txt"]) == (new, old)
    assert paths == [["RepoFolder", "x"], ["RepoFile", "x/y/c.bin"]]
    assert left == [".gitattributes", "z"] and gone == ["RemoteEntryNotFoundError", 404] and listed == ["ada/tree"]
    assert [title for _, title in hub.commits("ada/tree", repo_type="dataset")][0] == "less"


def test_a_model_comes_back(hub: HubServer, client: Client) -> None:
    assert client("""
        import torch
        from transformers import AutoModel, BertConfig, BertModel

        torch.manual_seed(0)
        sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
        model = BertModel(BertConfig(**sizes)).eval()
        model.push_to_hub("ada/bert", revision="trial", private=True)
        api.create_tag("ada/bert", tag="v1", revision="trial")
        ids = torch.tensor([[1, 2, 3]])
        same = [torch.equal(model(ids)[0], AutoModel.from_pretrained("ada/bert", revision=revision).eval()(ids)[0])
                for revision in ("trial", "v1")]
        show([same, api.file_exists("ada/bert", "model.safetensors", revision="v1"),
              api.file_exists("ada/bert", "model.safetensors")])
    """) == [[True, True], True, False]
    assert len(hub.seen("PUT", "/storage/.*")) == 1
    assert set(hub.files("ada/bert", "v1")) == {".gitattributes", "README.md", "config.json", "model.safetensors"}


def test_datasets_come_back(hub: HubServer, client: Client) -> None:
    assert client("""
        from datasets import Dataset, DatasetDict, load_dataset

        rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
        rows.push_to_hub("ada/rows")
        DatasetDict({"train": rows, "test": rows.select([2])}).push_to_hub("ada/splits", "small", private=True)
        splits = load_dataset("ada/splits", "small")
        stream = list(load_dataset("ada/rows", split="train", streaming=True))
        show([load_dataset("ada/rows", split="train").to_list(), {name: len(splits[name]) for name in splits}, stream])
    """) == [
        rows := [{"text": "a", "label": 0}, {"text": "b", "label": 1}, {"text": "c", "label": 0}],
        {"train": 3, "test": 1},
        rows,
    ]
    assert {name for name in hub.files("ada/splits", repo_type="dataset") if name.endswith(".parquet")} == {
        "small/train-00000-of-00001.parquet",
        "small/test-00000-of-00001.parquet",
    }


CARDS = {
    "license: mit\nlanguage: [en, gsw]\ntags: [a]\nbase_model: ada/one": "",
    "license: other\nlicense_name: mine\nlanguage: code": "",
    "- a\n- b": "must be a YAML map",
    "a: [": "YAML metadata error",
    "license: Apache 2": '"license" must be one of [',
    "license: other": '"license_name" is required',
    "language: english": '"language" with value "english" is not valid',
    "language: no": '"language" with value "False" is not valid',
    "tags: one": '"tags" must be an array',
    "tags: [1]": '"tags[0]" must be a string',
    "pipeline_tag: [fill-mask]": '"pipeline_tag" must be a string',
    "base_model: ./runs/one": '"base_model" with value "./runs/one" is not valid',
    "datasets: [Some Name]": '"datasets" with value "Some Name" is not valid',
    "model-index: {}": '"model-index" must be an array',
    "model-index: [{results: []}]": '"model-index[0].name" is required',
    "model-index: [{name: a, results: [{metrics: [], dataset: {}}]}]": '"model-index[0].results[0].task" is required',
    "model-index: [{name: a, results: [{dataset: {name: b}}]}]": '[0].results[0].dataset.type" is required',
    "model-index: [{name: a, results: [{metrics: [{type: f1}]}]}]": '[0].results[0].metrics[0].value" is required',
}


@pytest.mark.parametrize("metadata", CARDS)
def test_cards(metadata: str) -> None:
    errors = card_errors(f"---\n{metadata}\n---\n# Title\n")
    assert (errors == []) if not CARDS[metadata] else any(CARDS[metadata] in error for error in errors)


def test_cards_that_the_client_sends(hub: HubServer, client: Client) -> None:
    found = client("""
        import warnings
        from huggingface_hub import EvalResult, ModelCard, ModelCardData

        def refusal(call, *arguments, **options):
            try:
                call(*arguments, **options)
            except ValueError as error:
                return str(error)

        api.create_repo("ada/card")
        result = EvalResult("fill-mask", "ada/rows", "Rows", "accuracy", 0.5)
        card = ModelCard.from_template(ModelCardData(license="mit", model_name="tiny", eval_results=[result]))
        card.push_to_hub("ada/card")
        card.data.license = "none"
        told = refusal(card.push_to_hub, "ada/card")
        put = dict(repo_id="ada/card", path_in_repo="README.md")
        uploaded = refusal(api.upload_file, path_or_fileobj=b"---\\ntags: 1\\n---\\n", **put)
        file = {"path": "README.md", "content": "LS0tCnRhZ3M6IDEKLS0tCg=="}
        lines = [{"key": "header", "value": {"summary": "unchecked"}}, {"key": "file", "value": file}]
        answer = get_session().post(f"{api.endpoint}/api/models/ada/card/commit/main",
                                    content="\\n".join(map(json.dumps, lines)),
                                    headers={"Authorization": "Bearer " + os.environ["HF_TOKEN"]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            api.upload_file(path_or_fileobj=b"# Bare", **put)
        show([told, uploaded, answer.status_code, str(caught[-1].message), ModelCard.load("ada/card").text])
    """)
    told, uploaded, status, warning, text = found
    assert told.startswith('- Error: "license" must be one of [') and "apache-2.0" in told
    assert uploaded == 'Invalid metadata in README.md.\n- "tags" must be an array'
    assert status == 400 and "empty or missing yaml metadata" in warning and text == "# Bare"
    assert [title for _, title in hub.commits("ada/card")][1] == "Upload README.md with huggingface_hub"


def test_collections(hub: HubServer, client: Client) -> None:
    found = client("""
        api.create_repo("ada/member")
        made = api.create_collection("Tiny models!", namespace="lab", description="All of them")
        again = failure(api.create_collection, "Tiny models!", namespace="lab")
        same = api.create_collection("Tiny models!", namespace="lab", exists_ok=True).slug == made.slug
        api.add_collection_item(made.slug, "ada/member", "model", note="first")
        twice = failure(api.add_collection_item, made.slug, "ada/member", "model")
        api.add_collection_item(made.slug, "ada/member", "model", exists_ok=True)
        items = [[item.item_id, item.item_type, item.note] for item in api.get_collection(made.slug).items]
        found = [[one.slug for one in api.list_collections(owner="lab", item=item)]
                 for item in ("models/ada/member", "models/ada/other")]
        refused = [failure(api.create_collection, "Other", namespace=name) for name in ("club", "eve")]
        missing = [failure(api.get_collection, "lab/none-1"),
                   failure(api.add_collection_item, made.slug, "ada/none", "model")]
        long = failure(api.create_collection, "Long", description="x" * 151)
        own = api.create_collection("Own", private=True).slug
        hidden = failure(api.get_collection, own, token=False)
        show([made.slug, again, same, twice, items, found, refused, missing, long, own, hidden])
    """)
    slug, again, same, twice, items, listed, refused, missing, long, own, hidden = found
    assert slug.startswith("lab/tiny-models-") and own.startswith("ada/own-")
    assert again == twice == ["HfHubHTTPError", 409] and same
    assert items == [["ada/member", "model", "first"]] and listed == [[slug], []]
    assert refused == [["HfHubHTTPError", 403]] * 2
    assert missing == [["HfHubHTTPError", 404], ["RepositoryNotFoundError", 404]]
    assert long == ["BadRequestError", 400] and hidden == ["HfHubHTTPError", 404]


@pytest.fixture
def uploaded(hub: HubServer, client: Client) -> str:
    """The sha256 of data.bin in ada/big, whose bytes are BYTES."""
    sha256 = client(f"""
        api.create_repo("ada/big", exist_ok=True)
        put = dict(repo_id="ada/big", path_in_repo="data.bin")
        api.upload_file(path_or_fileobj=bytes(range(256)) * {len(BYTES) // 256}, **put)
        show(api.get_paths_info("ada/big", "data.bin")[0].lfs.sha256)
    """)
    hub.requests.clear()
    return sha256


def test_parts_of_files(hub: HubServer, client: Client, uploaded: str) -> None:
    ranges = client("""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url("ada/big", "data.bin")
        def part(asked):
            got = get_session().get(url, headers={"Range": f"bytes={asked}"})
            return [got.status_code, got.headers.get("Content-Range"), got.content.hex() * (got.status_code == 206)]
        meta = get_hf_file_metadata(url)
        show([part("2-4"), part("255998-"), part("-1"), part("256000-"), [meta.etag, meta.size, meta.commit_hash]])
    """)
    assert ranges[:3] == [
        [206, "bytes 2-4/256000", "020304"],
        [206, "bytes 255998-255999/256000", "feff"],
        [206, "bytes 255999-255999/256000", "ff"],
    ]
    assert ranges[3:] == [[416, "bytes */256000", ""], [uploaded, 256_000, hub.commits("ada/big")[0][0]]]
    batch = client(f"""
        objects = [{{"oid": "{uploaded}", "size": 256000}}, {{"oid": "{"0" * 64}", "size": 1}}]
        url = f"{{api.endpoint}}/ada/big.git/info/lfs/objects/batch"
        answer = get_session().post(url, json={{"operation": "download", "objects": objects}})
        known, unknown = answer.json()["objects"]
        show([len(get_session().get(known["actions"]["download"]["href"]).content), unknown["error"]["code"]])
    """)
    assert batch == [256_000, 404]


UPLOAD = """
    put = dict(repo_id="ada/big", path_in_repo="data.bin")
    try:
        api.upload_file(path_or_fileobj=b"%s" * 50_000, **put)
        show("done")
    except Exception as error:
        show([type(error).__name__, str(error)])
"""
DOWNLOAD = """
    got = Path(api.hf_hub_download("ada/big", "data.bin", local_dir="got", force_download=True)).read_bytes()
    expected = bytes(range(256)) * 1000
    show([len(got), sum(one != other for one, other in zip(got, expected, strict=True))])
"""
PATHS = {"batch": r"/ada/big\.git/info/lfs/objects/batch", "commit": "/api/models/ada/big/commit/main"}


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 500])
def test_a_status_in_place_of_an_answer(hub: HubServer, client: Client, uploaded: str, status: int) -> None:
    before = hub.commits("ada/big")
    hub.fault("POST", PATHS["commit"], Fault(status=status, message="made up"))
    told = client(UPLOAD % f"{status}")
    assert told[0] == "HfHubHTTPError" and "made up" in told[1] and str(status) in told[1]
    assert hub.seen("POST", PATHS["commit"]) == [status]  # the client does not repeat a commit
    assert hub.commits("ada/big") == before


def test_a_busy_hub_is_asked_again(hub: HubServer, client: Client, uploaded: str) -> None:
    hub.fault("POST", PATHS["batch"], Fault(status=503), times=2)
    assert client(UPLOAD % "busy") == "done"
    assert hub.seen("POST", PATHS["batch"]) == [503, 503, 200] and client.waits == [1, 2]
    hub.requests.clear()
    hub.fault("POST", PATHS["batch"], Fault(status=429, retry_after_seconds=7))
    assert client(UPLOAD % "rate") == "done"
    assert hub.seen("POST", PATHS["batch"]) == [429, 200] and client.waits == [8]


def test_a_fault_that_does_not_pass(hub: HubServer, client: Client, uploaded: str) -> None:
    hub.fault("HEAD|GET", RESOLVE, Fault(status=404, code="RepoNotFound"), times=None)
    for _ in range(2):
        found = client("show(failure(api.hf_hub_download, 'ada/big', 'data.bin', local_dir='new'))")
        assert found == ["RepositoryNotFoundError", 404]


@pytest.mark.parametrize("fault", [Fault(status=500, apply_first=True), Fault(cut_answer_after_bytes=0)])
def test_a_lost_answer(hub: HubServer, client: Client, uploaded: str, fault: Fault) -> None:
    before = hub.commits("ada/big")
    hub.fault("POST", PATHS["commit"], fault)
    told = client(UPLOAD % f"lost{fault.status}")
    assert told[0] == ("HfHubHTTPError" if fault.status else "RemoteProtocolError")
    assert hub.commits("ada/big")[1:] == before and hub.seen("POST", PATHS["commit"]) == [fault.status or 200]


def test_an_upload_that_breaks_off(hub: HubServer, client: Client, uploaded: str) -> None:
    hub.fault("PUT", "/storage/.*", Fault(cut_body_after_bytes=1_000))
    assert client(UPLOAD % "broken") == "done"
    assert hub.seen("PUT", "/storage/.*") == [0, 200] and client.waits == [1]
    assert hub.files("ada/big")["data.bin"] == b"broken" * 50_000
    hub.requests.clear()
    before = hub.commits("ada/big")
    hub.fault("PUT", "/storage/.*", Fault(cut_body_after_bytes=1_000), times=None)
    assert client(UPLOAD % "always")[0] == "RuntimeError"
    assert hub.seen("PUT", "/storage/.*") == [0] * 6 and client.waits == [1, 2, 4, 8, 8]
    assert hub.commits("ada/big") == before


def test_a_download_that_breaks_off(hub: HubServer, client: Client, uploaded: str) -> None:
    """The client goes on where it was, but only after each 10 MiB."""
    hub.fault("GET", RESOLVE, Fault(cut_answer_after_bytes=100_000))
    assert client(DOWNLOAD) == [256_000, 0]
    assert hub.seen("GET", RESOLVE) == [200, 200] and client.waits == [1]
    hub.requests.clear()
    hub.fault("GET", "/ada/big/resolve/.*", Fault(cut_answer_after_bytes=10_500_000))
    assert client("""
        content = bytes(range(250)) * 44_000
        api.upload_file(repo_id="ada/big", path_in_repo="large.bin", path_or_fileobj=content)
        show(Path(api.hf_hub_download("ada/big", "large.bin")).read_bytes() == content)
    """)
    assert hub.seen("GET", RESOLVE) == [200, 206] and client.waits == [1]


def test_damage_that_the_client_does_not_notice(hub: HubServer, client: Client, uploaded: str) -> None:
    hub.fault("GET", RESOLVE, Fault(corrupt=True))
    assert client(DOWNLOAD) == [256_000, 1]
    assert client(DOWNLOAD) == [256_000, 0]
    hub.fault("PUT", "/storage/.*", Fault(corrupt=True))
    assert client(UPLOAD % "rotten") == "done"
    stored, sent = hub.files("ada/big")["data.bin"], b"rotten" * 50_000
    assert sum(one != other for one, other in zip(stored, sent, strict=True)) == 1


def test_a_slow_hub(hub: HubServer, client: Client, uploaded: str) -> None:
    hub.fault("HEAD", RESOLVE, Fault(delay_seconds=0.6))
    assert client("""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        try:
            get_hf_file_metadata(hf_hub_url("ada/big", "data.bin"), timeout=0.2)
        except Exception as error:
            show(type(error).__name__)
    """) == "ReadTimeout"  # fmt: skip


def test_defects_of_the_hub_are_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="JSONDecodeError"), HubServer(tmp_path) as hub:
        with pytest.raises(urllib.error.HTTPError) as unknown:
            urllib.request.urlopen(f"{hub.url}/api/nothing")
        unknown.value.close()
        with pytest.raises(urllib.error.HTTPError) as broken:
            urllib.request.urlopen(f"{hub.url}/api/validate-yaml", data=b"{")
        broken.value.close()
        assert hub.requests == [("GET", "/api/nothing", 404), ("POST", "/api/validate-yaml", 500)]


RECIPE = """
import sys
from dataclasses import dataclass, field

from pipelines.errors import DataError

POSITIONAL = "model.name"


@dataclass
class Model:
    name: str = ""


@dataclass
class Config:
    model: Model = field(default_factory=Model)


def main(config):
    if not config.model.name:
        raise DataError("no name")
    print(config.model.name, sys.stdin.read(), sys.argv)
"""


def test_a_worker_runs_recipes(worker: HubWorker, tmp_path: Path) -> None:
    (tmp_path / "made_up.py").write_text(RECIPE)
    worker.execute("import os, sys; sys.path.append(os.getcwd())", tmp_path)
    done = worker.run("made_up", "one", stdin="typed")
    assert (done.code, done.out, done.err) == (0, "one typed ['recipes/made_up.py', 'one']\n", "")
    assert worker.run("made_up").err == "DataError: no name\n"
    helped = worker.run("train_tokenizer", "--help", cwd=tmp_path)
    assert helped.code == 0 and "--tokenizer.vocab_size" in helped.out and helped.err == ""


def test_a_worker_executes_source(worker: HubWorker, tmp_path: Path) -> None:
    done = worker.execute("import os, time; os.system('echo child'); time.sleep(50); print(os.getcwd())", tmp_path)
    assert (done.code, done.out, done.waits) == (0, f"child\n{tmp_path}\n", [50])
    ends = {"import sys; sys.exit(3)": 3, "raise SystemExit('because')": 1, "import sys; sys.exit()": 0}
    assert {source: worker.execute(source, tmp_path).code for source in ends} == ends
    failed = worker.execute("name = 'x'\n\nassert name == 'y', 'no'", tmp_path)
    assert failed.code == 1 and "    assert name == 'y', 'no'\n" in failed.err and "AssertionError: no" in failed.err
    assert worker.execute("name", tmp_path).code == 1  # nothing is left of the source before


def test_a_worker_that_hangs_or_crashes_is_replaced(tmp_path: Path) -> None:
    with HubWorker({}, timeout_seconds=2.0) as worker:
        for source, told in (
            ("print('last words', flush=True)\nwhile True: pass", "last words"),
            ("import os; os._exit(9)", "ended"),
        ):
            with pytest.raises(RuntimeError, match=told):
                worker.execute(source, tmp_path)
            assert worker.execute("print(1)", tmp_path).out == "1\n"
