"""What can be known before the first step, or before an upload, is told then: one message, and nothing is written."""

import contextlib
import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY_MODEL, sentences
from finetune_runs import BERT, flags
from hub_server import HubServer, Repository
from hub_worker import Done, HubWorker
from test_cards import changed, write_card

from pipelines.errors import ConfigError
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.licenses import License, choose_license
from pipelines.publishing.own_text import BEGIN, END, framed, own_text

TOKEN = "hf_" + "a" * 34  # of the account of the Hub of these tests
OTHER_TOKEN = "hf_" + "Zq7" * 12
WRITES = ("POST|PUT|DELETE", "(?!/api/validate-yaml).*")
TO = ("--publish.repo_id", "ada/tiny")


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
    """An empty Hub, with a token that may write."""
    yield shared_hub
    for held in (shared_hub.requests, shared_hub.rules, shared_hub.repositories, shared_hub.collections):
        held.clear()
    shared_hub.role, shared_hub.scopes = "write", {}


def put(hub: HubServer, name: str, private: bool = False, kind: str = "model", **files: str) -> None:
    """A repository with files; `_dot_` in a name stands for a dot."""
    made = hub.repositories[kind, name] = Repository(kind, name, private)
    named = {".gitattributes": "", **files}
    made.commit("main", {at.replace("_dot_", "."): hub.store(text.encode()) for at, text in named.items()}, "initial")


def card(**metadata: Any) -> str:
    return f"---\n{yaml.safe_dump(metadata)}---\n# Title\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that recipes run in, with what they read, so that no config holds an absolute path."""
    folder = tmp_path_factory.mktemp("place")
    with contextlib.chdir(folder):
        flags("classification", Path("."), Path("run"))  # writes its rows
    rows = [json.dumps({"text": text}) + "\n" for text in sentences(200)]
    (folder / "corpus.jsonl").write_text("".join(rows), encoding="utf-8")
    for name, license in (("nc", "cc-by-nc-4.0"), ("nd", "cc-by-nd-4.0"), ("free", "mit")):
        front = changed("license", to=license)
        front["train-eval-index"][0] |= {"task": "text-classification"}
        write_card(folder / f"card-{name}", front | {"task_categories": ["text-classification"]})
    return folder


def training(**replaced: str | None) -> list[str]:
    """Flags of a run of fine-tuning, those of some sections left out."""
    all_flags = {
        **{"data.files.train": "classification-0.jsonl", "data.files.validation": "classification-1.jsonl"},
        **{"tokenizer.vocab_size": "320", "model.config": BERT, "run.dir": "run"},
        **{"training.max_steps": "2", "run.threads": "1"},
    }
    if "model.name" in replaced:
        del all_flags["tokenizer.vocab_size"], all_flags["model.config"]
    if "data.card" in replaced:
        del all_flags["data.files.train"], all_flags["data.files.validation"]
    all_flags |= {key: value for key, value in replaced.items() if value is not None}
    return [part for key, value in all_flags.items() for part in (f"--{key}", value)]


PRETRAINING = [
    *("--data.files.train", "corpus.jsonl", "--data.block_size", "32", "--tokenizer.vocab_size", "300"),
    *("--model.config", TINY_MODEL, "--training.max_steps", "2", "--run.dir", "run", "--run.threads", "1"),
    *("--proof.enabled", "false"),
]


class Checking:
    """Runs recipes that must stop before their first step."""

    def __init__(self, hub: HubServer, worker: HubWorker, place: Path) -> None:
        self.hub, self.worker, self.place = hub, worker, place

    def __call__(self, argv: list[str], recipe: str = "finetune_classification") -> tuple[str, Done]:
        """The message of a recipe that ends with code 2."""
        done = self.worker.run(recipe, *argv, cwd=self.place)
        assert done.code == 2, done
        assert "Traceback" not in done.err and self.hub.token not in done.out + done.err
        assert not (self.place / "run").exists() and not (self.place / "runs").exists()
        assert self.hub.seen(*WRITES) == []
        messages = re.split(r"^(?=[A-Z]\w+Error: )", done.err, flags=re.MULTILINE)[1:]
        assert len(messages) == 1, done.err
        return messages[0], done

    def refused(self, *more: str, recipe: str = "finetune_classification", **replaced: str) -> str:
        """The message of a run of fine-tuning that is refused for how it is to be published."""
        message, done = self([*training(**replaced), *more], recipe)
        assert "Will be published" not in done.err and done.err.startswith(message)
        return message

    def accepted(self, *more: str, **replaced: str) -> str:
        """What is told of where a run will be published; its rows are missing, so that it takes no training."""
        missing = {"data.card": "./missing"} if "data.card" in replaced else {"data.files.train": "missing.jsonl"}
        message, done = self([*training(**(missing | replaced)), *more])
        assert message.startswith("DataError") and "missing.jsonl" in message, done
        return next((line for line in done.err.splitlines() if line.startswith("Will be published as ")), "")


@pytest.fixture
def check(hub: HubServer, worker: HubWorker, place: Path) -> Iterator[Checking]:
    yield Checking(hub, worker, place)
    shutil.rmtree(place / "run", ignore_errors=True)  # of one that was not refused


@contextlib.contextmanager
def environment(worker: HubWorker, folder: Path, **values: str | None) -> Iterator[None]:
    """Environment variables of the worker; None: unset."""
    code = """
import os
from pipelines.hub import hub_is_reachable
for name, value in {}.items():
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
hub_is_reachable.cache_clear()
"""
    before = {name: worker.environment.get(name) for name in values}
    assert worker.execute(code.format(repr(values)), folder).code == 0
    try:
        yield
    finally:
        assert worker.execute(code.format(repr(before)), folder).code == 0


# ---------------------------------------------------------------- the account


def test_no_token(check: Checking) -> None:
    with environment(check.worker, check.place, HF_TOKEN=None):
        message = check.refused(*TO)
    assert message.startswith("HubError: There is no access token.")
    assert "hf auth login" in message and "HF_TOKEN" in message


def test_a_wrong_token(check: Checking) -> None:
    with environment(check.worker, check.place, HF_TOKEN=OTHER_TOKEN):
        message = check.refused(*TO)
    assert message.startswith("HubError: The Hub answered 401 while checking the access token")
    assert "hf auth login" in message and OTHER_TOKEN not in message


def test_a_token_that_may_only_read(check: Checking) -> None:
    check.hub.role = "read"
    message = check.refused(*TO)
    assert message.startswith("HubError: The access token 'test' may read and not write.")
    assert "https://huggingface.co/settings/tokens" in message


SCOPES: dict[str, tuple[dict[str, list[str]], str]] = {
    "nothing": ({}, "to nothing"),
    "reading": ({"ada": ["repo.content.read"]}, "to nothing"),
    "another repository": ({"ada/other": ["repo.write"]}, "to ada/other"),
    "an organisation": ({"lab": ["repo.write"], "ada": ["repo.content.read"]}, "to lab"),
}


@pytest.mark.parametrize(("scopes", "allowed"), SCOPES.values(), ids=SCOPES)
def test_a_fine_grained_token_without_the_right(scopes: dict[str, list[str]], allowed: str, check: Checking) -> None:
    check.hub.role, check.hub.scopes = "fineGrained", scopes
    message = check.refused(*TO)
    assert message.startswith("HubError: ") and f"no right to write to ada/tiny (but {allowed})" in message


@pytest.mark.parametrize("name", ["ada", "ada/tiny"])
def test_a_fine_grained_token_with_the_right(name: str, check: Checking) -> None:
    check.hub.role, check.hub.scopes = "fineGrained", {name: ["repo.write"]}
    assert check.accepted(*TO) == "Will be published as ada/tiny, private, without a licence (--publish.license)"


NAMESPACES = {
    "somebody else's": ("eve/tiny", ["of ada, who is not in eve.", "It can push to: ada, lab."]),
    "nearly an organisation's": ("labs/tiny", ["who is not in labs. Did you mean 'lab'?"]),
    "nearly one's own": ("adda/tiny", ["Did you mean 'ada'?"]),
    "an organisation's that one reads": ("club/tiny", ["ada has the role read in club", "Ask its admins"]),
}


@pytest.mark.parametrize(("name", "parts"), NAMESPACES.values(), ids=NAMESPACES)
def test_namespaces_that_are_not_ones_own(name: str, parts: list[str], check: Checking) -> None:
    message = check.refused("--publish.repo_id", name)
    for part in ("ConfigError: publish.repo_id is ", *parts):
        assert part in message


@pytest.mark.parametrize(
    "name", ["ada/a b", "ada/-tiny", "ada/tiny/v1", "ada/ti--ny", "ada/tiny.git", "ada/été", "ada/" + "a" * 97, "/tiny"]
)
def test_names_that_no_repository_has(name: str, check: Checking) -> None:
    message = check.refused("--publish.repo_id", name)
    assert message.startswith(f"ConfigError: publish.repo_id is {name!r}; expected user/name")
    assert check.hub.requests == []


def test_a_name_without_namespace_is_of_the_user(check: Checking) -> None:
    assert check.accepted("--publish.repo_id", "tiny").startswith("Will be published as ada/tiny, private")


# ---------------------------------------------------------------- what is there already


def test_a_public_repository_for_a_private_run(check: Checking) -> None:
    put(check.hub, "ada/tiny")
    message = check.refused(*TO)
    assert message.startswith("ConfigError: ada/tiny exists and is public, but publish.private is true.")
    assert "--publish.private false" in message
    assert check.accepted(*TO, "--publish.private", "false").startswith("Will be published as ada/tiny, public")


def test_a_private_repository_stays_private(check: Checking) -> None:
    put(check.hub, "ada/tiny", private=True)
    message = check.refused(*TO, "--publish.private", "false")
    assert "exists and is private, but publish.private is false" in message and "settings of the repository" in message


def test_a_card_that_somebody_wrote(check: Checking) -> None:
    put(check.hub, "ada/tiny", private=True, README_dot_md="---\nlicense: mit\n---\n\n# My long text\n")
    assert "'README.md'" in check.refused(*TO)


def test_a_repository_with_files_of_others(check: Checking) -> None:
    put(check.hub, "ada/tiny", private=True, README_dot_md=card(license="mit"), thesis_dot_pdf="x")
    message = check.refused(*TO)
    assert message.startswith("ConfigError: ada/tiny exists and holds ") and "'thesis.pdf'" in message
    assert "--publish.exist_ok true" in message
    assert check.accepted(*TO, "--publish.exist_ok", "true").startswith("Will be published as ada/tiny, private")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README_dot_md": "---\nlicense: mit\n---\n"},
        {"README_dot_md": card(tags=["plumbline"]), "model_dot_bin": "x"},
    ],
    ids=["empty", "only a card", "of Plumbline"],
)
def test_repositories_that_may_be_pushed_to(files: dict[str, str], check: Checking) -> None:
    put(check.hub, "ada/tiny", private=True, **files)
    assert check.accepted(*TO).startswith("Will be published as ada/tiny, private")


# ---------------------------------------------------------------- the licence


LICENSES = {
    "misspelt": (["--publish.license", "apache-2"], ["'apache-2'", "Did you mean 'apache-2.0'?", "other"]),
    "in capitals": (["--publish.license", "MIT"], ["'MIT'", "Did you mean 'mit'?"]),
    "other without a name": (["--publish.license", "other"], ["--publish.license_name"]),
    "a name without other": (["--publish.license_name", "mine"], ["--publish.license other"]),
    "a link without other": (["--publish.license_link", "LICENSE"], ["--publish.license other"]),
    "a name beside an id": (["--publish.license", "mit", "--publish.license_name", "mine"], ["other"]),
}


@pytest.mark.parametrize(("more", "parts"), LICENSES.values(), ids=LICENSES)
def test_licences_that_are_none(more: list[str], parts: list[str], check: Checking) -> None:
    message = check.refused(*TO, *more)
    for part in ("ConfigError: publish.license", *parts):
        assert part in message


def test_a_licence_of_ones_own(check: Checking) -> None:
    told = check.accepted(*TO, "--publish.license", "other", "--publish.license_name", "mine")
    assert told == "Will be published as ada/tiny, private, under mine"


BASES = {
    "gpl-3.0": ("mit", "which models made of it must keep; publish.license is mit. Set --publish.license gpl-3.0"),
    "cc-by-nc-4.0": ("mit", "for non-commercial use alone; publish.license is mit"),
    "cc-by-nd-4.0": ("cc-by-nd-4.0", "allows no derived works"),
    "llama3.2": ("apache-2.0", "Set --publish.license llama3.2"),
    "cc-by-nc-sa-4.0": ("cc-by-nc-4.0", "which models made of it must keep"),
}


@pytest.mark.parametrize("where", ["on the Hub", "a folder"])
@pytest.mark.parametrize(("given", "chosen", "part"), [(given, *rest) for given, rest in BASES.items()], ids=BASES)
def test_licences_that_a_base_model_forbids(
    given: str, chosen: str, part: str, where: str, check: Checking, tmp_path: Path
) -> None:
    name = base_model(check, where, license=given)
    message = check.refused(*TO, "--publish.license", chosen, **{"model.name": name})
    assert message.startswith(f"ConfigError: The base model has the licence {given}, ") and part in message


def base_model(check: Checking, where: str, **metadata: Any) -> str:
    """Name of a base model whose card has this metadata."""
    if where == "on the Hub":
        put(check.hub, "eve/base", README_dot_md=card(**metadata))
        return "eve/base"
    folder = check.place / "base"
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(card(**metadata), encoding="utf-8")
    return "./base"


@pytest.mark.parametrize("where", ["on the Hub", "a folder"])
@pytest.mark.parametrize("given", ["gpl-3.0", "apache-2.0", "other", "[mit, apache-2.0]"])
def test_the_licence_is_that_of_the_base_model(given: str, where: str, check: Checking) -> None:
    more = {"license_name": "theirs"} if given == "other" else {}
    name = base_model(check, where, license=yaml.safe_load(given), **more)
    told = check.accepted(*TO, **{"model.name": name})
    stated = given in ("gpl-3.0", "apache-2.0")
    assert told.endswith(f"under {given}" if stated else "without a licence (--publish.license)")


def test_one_of_several_licences_of_a_base_model_forbids(check: Checking) -> None:
    name = base_model(check, "on the Hub", license=["cc-by-nd-4.0", "mit"])
    assert "allows no derived works" in check.refused(*TO, "--publish.license", "mit", **{"model.name": name})


def test_the_licence_of_a_stated_base_model(check: Checking) -> None:
    """A folder without a card is a copy of what publish.base_model names."""
    put(check.hub, "eve/base", README_dot_md=card(license="gpl-3.0"))
    (check.place / "copy").mkdir(exist_ok=True)
    stated = ("--publish.base_model", "eve/base")
    assert check.accepted(*TO, *stated, **{"model.name": "./copy"}).endswith("under gpl-3.0")
    assert "gpl-3.0" in check.refused(*TO, *stated, "--publish.license", "mit", **{"model.name": "./copy"})


def test_a_base_model_that_is_not_on_the_hub(check: Checking) -> None:
    message = check.refused(*TO, **{"model.name": "eve/none"})
    assert message.startswith("HubError: ") and "asking for the licence of eve/none" in message
    assert "no such repository" in message


DATA = {
    "nc": ([], "The training data has the licence cc-by-nc-4.0, for non-commercial use alone; publish.license is None"),
    "nc, mit": (["--publish.license", "mit"], "publish.license is mit. Set one that forbids it too"),
    "nd": (["--publish.license", "other", "--publish.license_name", "mine"], "allows no derived works"),
}


@pytest.mark.parametrize(("name", "more", "part"), [(name.split(",")[0], *DATA[name]) for name in DATA], ids=DATA)
def test_licences_that_the_data_forbids(name: str, more: list[str], part: str, check: Checking) -> None:
    message = check.refused(*TO, *more, **{"data.card": f"./card-{name}"})
    assert message.startswith("ConfigError: The training data has the licence ") and part in message


def test_licences_that_data_of_the_hub_forbids(check: Checking) -> None:
    put(check.hub, "eve/rows", kind="dataset", README_dot_md=card(license=["mit", "cc-by-nc-4.0"]))
    replaced = {"data.files.train": "null", "data.files.validation": "null", "data.name": "eve/rows"}
    assert "the licence cc-by-nc-4.0" in check.refused(*TO, **replaced)
    assert "the licence cc-by-nc-4.0" in check.refused(*TO, "--publish.license", "mit", **replaced)


# ---------------------------------------------------------------- the card


METADATA = {
    "a language": (["--publish.language", "[english]"], ['"language" with value "english" is not valid']),
    "a base model": (["--publish.base_model", "./base"], ["base_model", "./base"]),
}


@pytest.mark.parametrize(("more", "parts"), METADATA.values(), ids=METADATA)
def test_metadata_that_the_hub_refuses(more: list[str], parts: list[str], check: Checking) -> None:
    message = check.refused(*TO, *more)
    for part in ("ConfigError: ", *parts):
        assert part in message


def test_metadata_that_the_hub_takes(check: Checking) -> None:
    more = ("--publish.language", "[en, 'no', gsw]", "--publish.tags", "[hotels, small models, '2024']")
    assert check.accepted(*TO, *more).startswith("Will be published as ada/tiny")


def test_lists_that_are_none(check: Checking) -> None:
    for key in ("language", "tags"):
        message = check.refused(*TO, f"--publish.{key}", "en")
        assert message.startswith("ConfigError: ") and f"publish.{key}" in message


# ---------------------------------------------------------------- settings that do not go together


SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "an adapter without LoRA": (["--publish.weights", "adapter"], ["publish.weights is adapter", "--lora.r"]),
    "two names": (
        ["--training.push_to_hub", "true", "--training.hub_model_id", "ada/other"],
        ["training.hub_model_id is 'ada/other'", "publish.repo_id 'ada/tiny'", "Keep one"],
    ),
    "hub_model_id alone": (["--training.hub_model_id", "ada/tiny"], ["no effect without --training.push_to_hub true"]),
    "a token": (["--training.extra.hub_token", OTHER_TOKEN], ["training.extra.hub_token", "hf auth login", "HF_TOKEN"]),
    "hub_strategy": (["--training.extra.hub_strategy", "every_save"], ["hub_strategy", "--publish.checkpoints true"]),
    "hub_private_repo": (["--training.extra.hub_private_repo", "true"], ["hub_private_repo", "--publish.private"]),
    "hub_revision": (["--training.extra.hub_revision", "dev"], ["hub_revision", "--publish.revision"]),
    "hub_always_push": (["--training.extra.hub_always_push", "true"], ["hub_always_push", "when it is done"]),
    "a key misspelt": (["--publish.licence", "mit"], ["publish.licence", "Did you mean 'publish.license'?"]),
    "weights misspelt": (["--publish.weights", "adaptor"], ["publish.weights", "adaptor", "adapter"]),
    "another format": (["--publish.export", "[tflite]"], ["publish.export", "tflite", "onnx"]),
}


@pytest.mark.parametrize(("more", "parts"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_are_refused(more: list[str], parts: list[str], check: Checking) -> None:
    message = check.refused(*TO, *more)
    for part in ("ConfigError: ", *parts):
        assert part in message
    assert OTHER_TOKEN not in message


def test_an_adapter_of_a_local_checkpoint(check: Checking) -> None:
    more = ("--publish.weights", "adapter", "--lora.r", "4")
    (check.place / "copy").mkdir(exist_ok=True)
    message = check.refused(*TO, *more, **{"model.name": "./copy"})
    assert message.startswith("ConfigError: publish.weights is adapter") and "--publish.base_model user/name" in message
    put(check.hub, "eve/base", README_dot_md=card(license="mit"))
    more += ("--publish.base_model", "eve/base")
    assert check.accepted(*TO, *more, **{"model.name": "./copy"}).endswith("under mit")


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (["--training.hub_model_id", "lab/tiny"], "lab/tiny"),
        (["--training.hub_model_id", "lab/tiny", "--publish.repo_id", "lab/tiny"], "lab/tiny"),
        (["--publish.repo_id", "lab/tiny"], "lab/tiny"),
        ([], "ada/finetune_classification-run"),
    ],
    ids=["hub_model_id", "both", "repo_id", "neither"],
)
def test_push_to_hub_is_another_name_of_publishing(more: list[str], name: str, check: Checking) -> None:
    told = check.accepted("--training.push_to_hub", "true", *more)
    assert told.startswith(f"Will be published as {name}, private")


RECIPES = {
    "finetune_qa": training(),
    "pretrain_clm": PRETRAINING,
    "train_tokenizer": ["--data.files.train", "corpus.jsonl", "--tokenizer.vocab_size", "300", "--run.dir", "run"],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_other_recipes_check_it_too(recipe: str, check: Checking) -> None:
    message, _ = check([*RECIPES[recipe], "--publish.repo_id", "labs/tiny"], recipe)
    assert message.startswith("ConfigError: publish.repo_id is 'labs/tiny'") and "Did you mean 'lab'?" in message
    message, _ = check([*RECIPES[recipe], *TO, "--publish.license", "mti"], recipe)
    assert "Did you mean 'mit'?" in message
    check.hub.role = "read"
    message, _ = check([*RECIPES[recipe], *TO], recipe)
    assert "may read and not write" in message


# ---------------------------------------------------------------- what must not leave


def test_absolute_paths_in_the_config(check: Checking) -> None:
    rows = str(check.place / "missing.jsonl")
    replaced = {"data.files.train": rows}
    message = check.refused(*TO, **replaced)
    assert message.startswith("ConfigError: Nothing was pushed") and f"absolute path: {rows}" in message
    assert "run/config.yaml, line " in message and "run/environment.json, line " in message
    assert "--publish.hide true" in message and "--publish.records false" in message
    for more in ("--publish.hide", "true"), ("--publish.records", "false"):
        assert check.accepted(*TO, *more, **replaced).startswith("Will be published as ada/tiny")


def test_absolute_paths_in_the_command_alone(check: Checking) -> None:
    config = check.place / "own.yaml"
    config.write_text("publish: {repo_id: ada/tiny}\n")
    message = check.refused("--config", str(config))
    assert f"run/environment.json, line 1: absolute path: {config}" in message and "run/config.yaml" not in message
    assert check.accepted("--config", "own.yaml").startswith("Will be published as ada/tiny")


def test_the_run_folder_may_be_an_absolute_path(check: Checking) -> None:
    assert check.accepted(*TO, **{"run.dir": str(check.place / "run")}).startswith("Will be published as ada/tiny")


def test_e_mail_addresses_in_the_config(check: Checking) -> None:
    more = (*TO, "--training.run_name", "ann.li@uni-lab.org")
    message = check.refused(*more)
    assert "e-mail address: ann.li@uni-lab.org" in message and "--publish.hide true" in message
    assert check.accepted(*more, "--publish.hide", "true").startswith("Will be published as ada/tiny")


@pytest.mark.parametrize("secret", [OTHER_TOKEN, TOKEN], ids=["of others", "one's own"])
@pytest.mark.parametrize("hide", ["false", "true"])
def test_tokens_in_the_config(secret: str, hide: str, check: Checking) -> None:
    """Hidden ones are refused as well, for they have to be revoked."""
    message = check.refused(*TO, "--training.run_name", secret, "--publish.hide", hide)
    assert "run/config.yaml, line " in message and "revoked" in message and secret not in message
    assert "--publish.hide true" not in message


# ---------------------------------------------------------------- without a Hub


@pytest.mark.parametrize("flag", ["1", "true"])
def test_an_offline_process(flag: str, check: Checking) -> None:
    with environment(check.worker, check.place, HF_HUB_OFFLINE=flag):
        message = check.refused(*TO)
    assert message.startswith("HubError: The Hugging Face Hub cannot be reached")
    for part in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "--publish.dry_run true", "recipes/publish_to_hub.py"):
        assert part in message
    assert check.hub.requests == []


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """Address of a port where nobody listens."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{port.getsockname()[1]}"


@pytest.fixture(scope="module")
def alone(shared_hub: HubServer, nowhere: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubWorker]:
    """A process without a token, whose Hub cannot be reached."""
    environment = shared_hub.environment(tmp_path_factory.mktemp("alone")) | {"HF_ENDPOINT": nowhere, "HF_TOKEN": ""}
    with HubWorker(environment) as worker:
        yield worker


def test_a_hub_that_cannot_be_reached(check: Checking, nowhere: str, alone: HubWorker, push: "Pushing") -> None:
    with environment(check.worker, check.place, HF_ENDPOINT=nowhere):
        message = check.refused(*TO)
    assert message.startswith("HubError: The Hugging Face Hub cannot be reached") and "HF_ENDPOINT" in message
    done = alone.run("publish_to_hub", "run", *TO, cwd=push.run.parent)
    assert done.code == 2 and done.err == message
    assert contents(push.run) == push.before


def test_a_rehearsal_needs_no_hub(check: Checking, nowhere: str, alone: HubWorker, push: "Pushing") -> None:
    dry = ("--publish.dry_run", "true")
    with environment(check.worker, check.place, HF_ENDPOINT=nowhere, HF_TOKEN=None):
        assert check.accepted(*TO, *dry) == ""
        assert "Did you mean 'mit'?" in check.refused(*TO, *dry, "--publish.license", "mti")
    for name in ([], list(TO)):
        done = alone.run("publish_to_hub", "run", *name, *dry, cwd=push.run.parent)
        assert done.code == 0 and "Nothing was pushed." in done.out and "model.safetensors" in done.out
    after = contents(push.run)
    assert {name: after[name] for name in after if not name.startswith("publish/")} == push.before
    assert check.hub.requests == []


# ---------------------------------------------------------------- a finished run


@pytest.fixture(scope="module")
def finished(worker: HubWorker, place: Path) -> Iterator[Path]:
    with contextlib.chdir(place):
        arguments = flags("classification", Path("."), Path("made"), "--evaluation.baselines", "false", steps=2)
    done = worker.run("finetune_classification", *arguments, cwd=place)
    assert done.code == 0, done.err
    yield place / "made"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Pushing:
    """A finished run of its own that recipes/publish_to_hub.py must not push."""

    def __init__(self, hub: HubServer, worker: HubWorker, run: Path) -> None:
        self.hub, self.worker, self.run = hub, worker, run
        self.before = contents(run)

    def refused(self, *more: str, argv: tuple[str, ...] = ("run", *TO)) -> str:
        """The message; nothing is uploaded, and the run folder is as it was before."""
        before = contents(self.run)
        done = self.worker.run("publish_to_hub", *argv, *more, cwd=self.run.parent)
        assert done.code == 2, done
        assert "Traceback" not in done.err and done.out == ""
        assert len(re.findall(r"^[A-Z]\w+Error: ", done.err, re.MULTILINE)) == 1
        assert self.hub.seen(*WRITES) == []
        assert contents(self.run) == before and list(self.run.glob(".publish-*")) == []
        return done.err


@pytest.fixture
def push(hub: HubServer, worker: HubWorker, finished: Path, tmp_path: Path) -> Pushing:
    shutil.copytree(finished, tmp_path / "run")
    return Pushing(hub, worker, tmp_path / "run")


RUNS: dict[str, tuple[list[str], list[str]]] = {
    "no argument": ([*TO], ["ConfigError: No run: give its folder as the first argument"]),
    "no such folder": (["runs/none", *TO], ["ConfigError: runs/none is no folder"]),
    "a file": (["run/metrics.json", *TO], ["ConfigError: run/metrics.json is no folder"]),
    "no run": (["run/model", *TO], ["ConfigError: run/model holds no config.yaml"]),
    "no repository": (["run"], ["ConfigError: publish.repo_id is not set", "--publish.dry_run true"]),
    "an adapter": (["run", *TO, "--publish.weights", "adapter"], ["ConfigError: publish.weights is adapter", "lora.r"]),
    "a language": (["run", *TO, "--publish.language", "[english]"], ["ConfigError: ", '"english" is not valid']),
    "a licence": (["run", *TO, "--publish.license", "mti"], ["Did you mean 'mit'?"]),
    "a namespace": (["run", "--publish.repo_id", "labs/tiny"], ["Did you mean 'lab'?"]),
    "a name": (["run", "--publish.repo_id", "ada/a b"], ["ConfigError: publish.repo_id is 'ada/a b'"]),
    "content": (["run", *TO, "--publish.content", "corpora"], ["publish.content", "corpora", "corpus"]),
    "no corpus": (
        ["run", *TO, "--publish.content", "corpus", "--publish.license", "mit"],
        ["ConfigError: publish.content is corpus", "labelled rows"],
    ),
    "no licence of rows": (["run", *TO, "--publish.content", "predictions"], ["licence", "--publish.license ID"]),
}


@pytest.mark.parametrize(("argv", "parts"), RUNS.values(), ids=RUNS)
def test_what_cannot_be_pushed(argv: list[str], parts: list[str], push: Pushing) -> None:
    message = push.refused(argv=tuple(argv))
    for part in parts:
        assert part in message


def test_a_run_that_is_not_finished(push: Pushing) -> None:
    (push.run / "metrics.json").unlink()
    message = push.refused()
    assert message.startswith("CheckpointError: The run in run is not finished") and "Run its command again" in message


@pytest.mark.parametrize("content", ['{"source": ', "[]", "{}", '{"source": null}', "\0\1"])
@pytest.mark.parametrize("name", ["receipt.json", "environment.json"])
def test_damaged_records(name: str, content: str, push: Pushing) -> None:
    (push.run / name).write_text(content)
    message = push.refused()
    assert message.startswith(f"CheckpointError: run/{name} ")


def test_a_damaged_config(push: Pushing) -> None:
    for content in ("data: [", "- a\n", "", "run: {}\n"):
        (push.run / "config.yaml").write_text(content)
        assert push.refused().startswith("CheckpointError: run/config.yaml ")


def test_an_emptied_model_folder(push: Pushing) -> None:
    for path in (push.run / "model").iterdir():
        path.unlink()
    assert push.refused().startswith("CheckpointError: run/model holds no model")
    (push.run / "model").rmdir()
    assert push.refused().startswith("CheckpointError: run/model holds no model")


def test_a_model_folder_without_weights(push: Pushing) -> None:
    (push.run / "model" / "model.safetensors").unlink()
    message = push.refused()
    assert message.startswith("CheckpointError: ") and "run/model" in message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.pt", "sub/x.pkl"])
def test_weights_that_may_run_code(name: str, push: Pushing) -> None:
    path = push.run / "model" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    message = push.refused()
    assert message.startswith(f"CheckpointError: run/model/{name} may run code") and "safetensors" in message


# ---------------------------------------------------------------- planted in a finished run


AWS_KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEAx9Zr3vQ2bK8mT4nWc6yH1sLfGdPjUoEiRaNvXqZtBw5k\n" * 3


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def add_key(path: Path, key: str, value: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}, indent=2), encoding="utf-8")


def plant_in_own_text(run: Path, text: str) -> None:
    path = run / "model" / "README.md"
    path.write_text(path.read_text(encoding="utf-8").replace(BEGIN, f"{BEGIN}\n{text}"), encoding="utf-8")


def plant_in_log(run: Path, text: str) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": 7, "note": text}) + "\n")


def plant_in_weights(run: Path, text: str) -> None:
    from safetensors.torch import load_file, save_file

    path = run / "model" / "model.safetensors"
    save_file(load_file(path), path, {"format": "pt", "source": text})


PLANTS: dict[str, tuple[Any, str, str, bool]] = {
    "a token in the config": (
        lambda run, text: append(run / "config.yaml", f"# {text}\n"),
        OTHER_TOKEN,
        "run/config.yaml, line ",
        False,
    ),
    "an AWS key in the tokenizer's config": (
        lambda run, text: add_key(run / "model" / "tokenizer_config.json", "note", text),
        AWS_KEY,
        "tokenizer_config.json, line ",
        False,
    ),
    "a private key in the own text": (plant_in_own_text, KEY, "README.md, line ", False),
    "an e-mail address in the log": (plant_in_log, "ann.li@uni-lab.org", "run/metrics.jsonl, line ", True),
    "a home path in the model's config": (
        lambda run, text: add_key(run / "model" / "config.json", "_name_or_path", text),
        "/home/ann/models/base",
        "config.json, line ",
        True,
    ),
    "a token in the header of the weights": (plant_in_weights, OTHER_TOKEN, "model.safetensors, line 1", False),
    "a password in an address": (
        lambda run, text: add_key(run / "environment.json", "note", f"https://ann:{text}@git.uni-lab.org/models"),
        "Wx9-rt2-Lq7",
        "run/environment.json, line ",
        False,
    ),
}


@pytest.mark.parametrize(("plant", "text", "where", "can_be_hidden"), PLANTS.values(), ids=PLANTS)
def test_what_must_not_leave(plant: Any, text: str, where: str, can_be_hidden: bool, push: Pushing) -> None:
    plant(push.run, text)
    message = push.refused()
    assert "this must not leave the machine" in message and where in message
    assert (text in message) == can_be_hidden == ("--publish.hide true" in message)
    if can_be_hidden:
        done = push.worker.run("publish_to_hub", "run", *TO, "--publish.hide", "true", cwd=push.run.parent)
        assert done.code == 0, done
        pushed = push.hub.files("ada/tiny")
        assert not any(text.encode() in content for content in pushed.values())
        assert any(b"(hidden)" in content for content in pushed.values())
    else:
        assert "revoked" in push.refused("--publish.hide", "true")


def test_the_token_of_the_process_does_not_leave(push: Pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it looks like: it is known by its value."""
    own = "ticket-of-a-mirror-0815"
    monkeypatch.setattr(push.hub, "token", own)
    add_key(push.run / "model" / "config.json", "note", f"made with {own}")
    with environment(push.worker, push.run, HF_TOKEN=own):
        message = push.refused("--publish.hide", "true")
    assert "config.json, line " in message and "HF_TOKEN" in message and own not in message


# ---------------------------------------------------------------- units


CHOICES: dict[str, tuple[Mapping[str, Any], str | None, str | None, License | str | None]] = {
    "nothing is known": ({}, None, None, None),
    "the base model's": ({}, "apache-2.0", None, License("apache-2.0")),
    "the author's": ({"license": "mit"}, "apache-2.0", None, License("mit")),
    "data alone gives none": ({}, None, "cc-by-4.0", None),
    "an own one": (
        {"license": "other", "license_name": "mine", "license_link": "LICENSE"},
        None,
        None,
        License("other", "mine", "LICENSE"),
    ),
    "base of an own one": ({}, "other", None, None),
    "base of an unknown one": ({}, "unknown", None, None),
    "base without derived works": ({}, "cc-by-nd-4.0", None, "no derived works"),
    "base without derived works, other": (
        {"license": "other", "license_name": "x"},
        "cc-by-nc-nd-4.0",
        None,
        "no derived works",
    ),
    "data without derived works": ({"license": "mit"}, None, "cc-by-nc-nd-3.0", "no derived works"),
    "non-commercial base": ({}, "cc-by-nc-4.0", None, License("cc-by-nc-4.0")),
    "non-commercial base, mit": ({"license": "mit"}, "cc-by-nc-4.0", None, "--publish.license cc-by-nc-4.0"),
    "non-commercial base, other": (
        {"license": "other", "license_name": "x"},
        "cc-by-nc-4.0",
        None,
        License("other", "x"),
    ),
    "non-commercial base, another such": ({"license": "cc-by-nc-3.0"}, "cc-by-nc-4.0", None, License("cc-by-nc-3.0")),
    "non-commercial data": ({}, None, "cc-by-nc-4.0", "publish.license is None"),
    "non-commercial data, kept": ({"license": "cc-by-nc-4.0"}, None, "cc-by-nc-4.0", License("cc-by-nc-4.0")),
    "non-commercial data, free base": ({}, "mit", "cc-by-nc-4.0", "non-commercial"),
    "non-commercial base and data": ({}, "cc-by-nc-4.0", "cc-by-nc-4.0", License("cc-by-nc-4.0")),
    "share-alike base": ({}, "cc-by-sa-4.0", None, License("cc-by-sa-4.0")),
    "share-alike base, mit": ({"license": "mit"}, "cc-by-sa-4.0", None, "--publish.license cc-by-sa-4.0"),
    "share-alike base, other": ({"license": "other", "license_name": "x"}, "gpl-3.0", None, License("other", "x")),
    "share-alike, non-commercial base, less": ({"license": "cc-by-nc-4.0"}, "cc-by-nc-sa-4.0", None, "must keep"),
    "share-alike data": ({"license": "mit"}, None, "cc-by-sa-4.0", License("mit")),
    "data under several": ({"license": "mit"}, None, "mit, cc-by-nc-4.0", "cc-by-nc-4.0"),
    "Llama": ({"license": "apache-2.0"}, "llama3.1", None, "--publish.license llama3.1"),
    "Gemma": ({"license": "mit"}, "gemma", None, "must keep"),
    "OpenRAIL": ({"license": "mit"}, "bigscience-bloom-rail-1.0", None, "must keep"),
    "misspelt": ({"license": "apache2"}, None, None, "Did you mean 'apache-2.0'?"),
    "no name": ({"license": "other"}, None, None, "--publish.license_name"),
    "no other": ({"license_name": "mine"}, "mit", None, "--publish.license other"),
}


@pytest.mark.parametrize(("stated", "base", "data", "expected"), CHOICES.values(), ids=CHOICES)
def test_choices_of_a_licence(
    stated: Mapping[str, Any], base: str | None, data: str | None, expected: License | str | None
) -> None:
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            choose_license(PublishConfig(**stated), base, data)
    else:
        assert choose_license(PublishConfig(**stated), base, data) == expected


OWN_TEXTS = {
    "a card of others": ("# Title\n", None),
    "empty": (f"# Title\n{framed('')}\n", ""),
    "a line": (f"# Title\n{framed('Mine.')}\n# End\n", "Mine."),
    "several": (framed("## Mine\n\n<!-- a note -->\n\ntext"), "## Mine\n\n<!-- a note -->\n\ntext"),
    "blanks around it": (f"{BEGIN}\n\n  Mine.  \n\n{END}", "Mine."),
    "on one line": (f"{BEGIN}Mine.{END}", "Mine."),
    "with line ends of Windows": (framed("a\nb").replace("\n", "\r\n"), "a\r\nb"),
    "no end": (f"{BEGIN}\nMine.\n", None),
    "no beginning": (f"Mine.\n{END}\n", None),
    "the end first": (f"{END}\n{BEGIN}\n", None),
}


@pytest.mark.parametrize(("text", "expected"), OWN_TEXTS.values(), ids=OWN_TEXTS)
def test_the_own_text_of_a_card(text: str, expected: str | None) -> None:
    assert own_text(text) == expected


@pytest.mark.parametrize("text", ["", "Mine.", "a\n\nb", "\\1 \\g<0> $&", "---\nlicense: mit\n---"])
def test_an_own_text_comes_back(text: str) -> None:
    assert own_text(f"# Title\n\n{framed(text)}\n") == text
