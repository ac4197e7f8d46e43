"""Runs are pushed to a Hub on the loopback by the unmodified client, loaded from there, and score what they scored."""

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import corpus_file, tiny_run  # noqa: F401
from finetune_runs import flags, row, write_rows
from hub_server import HubServer
from hub_worker import Done, HubWorker
from huggingface_hub import DatasetCard, ModelCard

from pipelines.publishing.own_text import BEGIN, END


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that everything runs in, so that no config holds an absolute path."""
    folder, before = tmp_path_factory.mktemp("publishing"), os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub"), orgs=("lab",)) as server:
        yield server


@pytest.fixture(scope="module")
def worker(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubWorker]:
    with HubWorker(hub.environment(tmp_path_factory.mktemp("home"))) as process:
        yield process


def done(result: Done) -> Done:
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="module")
def classifier(hub: HubServer, worker: HubWorker, place: Path) -> Path:
    """A run of two seeds that published itself as ada/reviews."""
    run = Path("classifier")
    wanted = ("--publish.repo_id", "ada/reviews", "--publish.license", "mit", "--publish.tags", "[hotels]")
    told = done(
        worker.run(
            "finetune_classification",
            *flags("classification", Path(), run, *wanted, "--evaluation.seeds", "2"),
            cwd=place,
        )
    )
    assert "Will be published as ada/reviews, private, under mit" in told.err
    assert f"published {hub.url}/ada/reviews" in told.out
    return run


@pytest.fixture(scope="module")
def decoder(worker: HubWorker, place: Path, corpus_file: Path) -> Path:  # noqa: F811
    """A finished run of a causal language model, not published."""
    Path("corpus.jsonl").write_bytes(corpus_file.read_bytes())
    done(worker.run("pretrain_clm", *tiny_run(Path("corpus.jsonl"), Path("decoder")), cwd=place))
    return Path("decoder")


def code_of(card: str) -> str:
    """The first Python block of a card."""
    return card.split("```python\n")[1].split("```")[0]


# ---------------------------------------------------------------- a classifier


def test_weights_are_pushed_before_the_card_and_nothing_else_is_there(hub: HubServer, classifier: Path) -> None:
    titles = [title for _, title in hub.commits("ada/reviews")]
    assert titles == ["Card", "Model of finetune_classification", "initial commit"]
    before_card, _ = hub.commits("ada/reviews")[1]
    assert "README.md" not in hub.files("ada/reviews", before_card)
    assert sorted(hub.files("ada/reviews")) == [
        *(".gitattributes", "README.md", "config.json", "model.safetensors", "plumbline.json", "run/config.yaml"),
        *(
            "run/environment.json",
            "run/metrics.json",
            "run/metrics.jsonl",
            "run/plan.json",
            "run/proof.json",
            "run/receipt.json",
        ),
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    assert hub.files("ada/reviews")["model.safetensors"] == (classifier / "model" / "model.safetensors").read_bytes()


def test_what_was_published_is_recorded(hub: HubServer, classifier: Path) -> None:
    record = json.loads((classifier / "published.json").read_text())
    assert record["commit"] == hub.commits("ada/reviews")[0][0]
    assert (record["repo_id"], record["private"], record["revision"]) == ("ada/reviews", True, "main")
    assert record["files"].keys() == hub.files("ada/reviews").keys() - {".gitattributes"}
    assert not list(classifier.glob(".publish-*"))


def test_a_published_config_starts_no_other_push(classifier: Path) -> None:
    config = (classifier / "config.yaml").read_text()
    assert not [word for word in ("publish", "ada/", "push_to_hub", "hub_model_id") if word in config]


def test_predictions_of_the_published_model_are_those_of_the_run(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    rows = write_rows(Path(), "classification", 20, seed=7)
    arguments = ("--predict.input", str(rows), "--predict.threads", "1")
    here, there = (
        done(worker.run("predict", name, *arguments, cwd=place)).out for name in (str(classifier), "ada/reviews")
    )
    assert len(here.splitlines()) == 20
    assert here == there


def test_the_published_model_scores_what_the_run_scored(worker: HubWorker, classifier: Path, place: Path) -> None:
    rows = [json.loads(line) for line in Path("classification-1.jsonl").read_text().splitlines()]
    arguments = ("--predict.input", "classification-1.jsonl", "--predict.threads", "1")
    lines = done(worker.run("predict", "ada/reviews", *arguments, cwd=place)).out.splitlines()
    right = [json.loads(line)["prediction"]["label"] == one["label"] for line, one in zip(lines, rows, strict=True)]
    metrics = json.loads((classifier / "metrics.json").read_text())
    assert sum(right) / len(right) == pytest.approx(metrics["eval_accuracy"])


def test_a_pipeline_of_transformers_takes_it(worker: HubWorker, classifier: Path, place: Path) -> None:
    code = "from transformers import pipeline\nprint(pipeline('text-classification', model='ada/reviews')('A room.'))"
    assert re.search(r"'label': '(good|bad)'", done(worker.execute(code, place)).out)


def test_the_card_is_read_by_the_hubs_own_parser(hub: HubServer, classifier: Path) -> None:
    text = hub.files("ada/reviews")["README.md"].decode()
    data = ModelCard(text).data
    metrics = json.loads((classifier / "metrics.json").read_text())
    found = {result.metric_name: result for result in data.eval_results}
    assert found["Accuracy"].metric_value == metrics["eval_accuracy"]
    assert found["Accuracy"].metric_args["confidence_interval_95"] == [
        metrics["eval_accuracy_ci_low"],
        metrics["eval_accuracy_ci_high"],
    ]
    assert found["Accuracy"].metric_args["baselines"]["TF-IDF"] == metrics["baseline_tfidf_accuracy"]
    assert found["Accuracy"].dataset_split == "validation"
    assert (data.license, data.pipeline_tag, data.library_name) == ("mit", "text-classification", "transformers")
    assert data.tags == ["plumbline", "hotels"]
    assert data.to_dict()["model-index"][0]["name"] == "reviews"


def test_the_card_tells_what_the_run_folder_holds(hub: HubServer, classifier: Path) -> None:
    text = hub.files("ada/reviews")["README.md"].decode()
    plan = json.loads((classifier / "plan.json").read_text())
    for part in (
        f"{plan['parameters']['total']:,} parameters, fine-tuned with Plumbline from random weights in 6 steps",
        "| Rows read | 60 | 30 |",
        "| Rows also in train |",
        "`learning_rate` | 0.001 |",
        "Trained more than once:",
        "Energy was not measured.",
        "accelerate launch recipes/finetune_classification.py --config run/config.yaml",
        "Licence: not stated",
        "Training files that are not on the Hub are not here.",
    ):
        assert part in text, part
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {name}"
        for name in (
            *("Results", "How to use", "Limits", "Training data", "Training", "Environment and energy"),
            *("How to reproduce", "Checks", "Notes"),
        )
    ]


def test_the_code_of_the_card_runs(hub: HubServer, worker: HubWorker, classifier: Path, tmp_path: Path) -> None:
    code = code_of(hub.files("ada/reviews")["README.md"].decode())
    assert "ada/reviews" in code
    assert done(worker.execute(code, tmp_path)).out.strip() in ("good", "bad")


def test_the_published_config_repeats_the_run(hub: HubServer, worker: HubWorker, classifier: Path, place: Path) -> None:
    Path("published.yaml").write_bytes(hub.files("ada/reviews")["run/config.yaml"])
    done(worker.run("finetune_classification", "--config", "published.yaml", "--run.dir", "again", cwd=place))
    ours, again = (json.loads(Path(name, "metrics.json").read_text()) for name in (classifier, "again"))
    assert {name: value for name, value in again.items() if name.startswith("eval_") and name != "eval_seconds"} == {
        name: value for name, value in ours.items() if name.startswith("eval_") and name != "eval_seconds"
    }


def test_the_same_command_again_commits_nothing(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    before = hub.commits("ada/reviews")
    told = done(worker.run("publish_to_hub", str(classifier), "--publish.repo_id", "ada/reviews", "--publish.license",
                           "mit", "--publish.tags", "[hotels]", cwd=place))  # fmt: skip
    assert "published" in told.out
    assert hub.commits("ada/reviews") == before


def test_a_finished_run_that_is_to_be_published_is_pushed_and_not_trained(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    wanted = ("--training.push_to_hub", "true", "--training.hub_model_id", "ada/later", "--evaluation.seeds", "2")
    told = done(worker.run("finetune_classification", *flags("classification", Path(), classifier, *wanted), cwd=place))
    assert "This run is finished" in told.err
    assert f"published {hub.url}/ada/later" in told.out
    assert "step" not in told.err


PUSH = ("--publish.license", "mit", "--publish.tags", "[hotels]")


def test_the_authors_own_text_survives(hub: HubServer, worker: HubWorker, classifier: Path, place: Path) -> None:
    card = classifier / "model" / "README.md"
    card.write_text(card.read_text().replace(f"{BEGIN}\n", f"{BEGIN}\nMade for the hotel.\n"))
    push = ("publish_to_hub", str(classifier), "--publish.repo_id", "ada/own", *PUSH)
    done(worker.run(*push, cwd=place))
    assert "Made for the hotel." in hub.files("ada/own")["README.md"].decode()

    edit = """
from huggingface_hub import HfApi, hf_hub_download
text = open(hf_hub_download("ada/own", "README.md")).read().replace("for the hotel", "for all hotels")
HfApi().upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id="ada/own")
"""
    done(worker.execute(edit, place))
    done(worker.run(*push, cwd=place))
    assert "Made for all hotels." in hub.files("ada/own")["README.md"].decode(), "as it was changed on the Hub"
    assert "Made for all hotels." in card.read_text()

    card.write_text(card.read_text().replace("all hotels", "two hotels"))
    done(worker.run(*push, cwd=place))
    assert "Made for two hotels." in hub.files("ada/own")["README.md"].decode(), "as it was changed here"

    done(worker.execute(edit.replace("for the hotel", "two").replace("for all hotels", "three"), place))
    card.write_text(card.read_text().replace("two hotels", "four hotels"))
    failed = worker.run(*push, cwd=place)
    assert failed.code == 2
    assert "was changed both in" in failed.err
    card.write_text(re.sub(f"{BEGIN}.*{END}", f"{BEGIN}\n{END}", card.read_text(), flags=re.DOTALL))


def test_a_rehearsal_shows_what_a_push_does(hub: HubServer, worker: HubWorker, classifier: Path, place: Path) -> None:
    before = len(hub.requests)
    told = done(worker.run("publish_to_hub", str(classifier), "--publish.repo_id", "ada/reviews", *PUSH,
                           "--publish.dry_run", "true", cwd=place))  # fmt: skip
    assert len(hub.requests) == before
    shown = {parts[3]: parts for parts in (line.split() for line in told.out.splitlines()[2:-1])}
    pushed = {name: data for name, data in hub.files("ada/reviews").items() if name != ".gitattributes"}
    assert shown.keys() == pushed.keys()
    for name, data in pushed.items():
        assert shown[name][0] == ("2" if name == "README.md" else "1")
        assert (classifier / "publish" / name).read_bytes() == data


def test_records_may_stay_and_checkpoints_and_an_onnx_graph_may_go(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    wanted = ("--publish.records", "false", "--publish.checkpoints", "true", "--publish.revision", "lab")
    wanted += ("--publish.export", "[onnx]")
    done(worker.run("publish_to_hub", str(classifier), "--publish.repo_id", "ada/states", *wanted, cwd=place))
    files = hub.files("ada/states", "lab")
    assert {"checkpoints/checkpoint-6/optimizer.pt", "onnx/model.onnx"} <= files.keys()
    assert not [name for name in files if name.startswith("run/")]
    assert hub.files("ada/states").keys() == {".gitattributes"}, "the main branch is as it was"


def test_a_repository_can_be_public_tagged_and_in_a_collection(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    wanted = ("--publish.private", "false", "--publish.git_tag", "v1.0", "--publish.collection", "Hotels")
    for _ in range(2):
        done(worker.run("publish_to_hub", str(classifier), "--publish.repo_id", "lab/open", *wanted, cwd=place))
    code = """
from huggingface_hub import HfApi, get_collection, list_collections
api = HfApi()
found = [one for one in list_collections(owner="lab") if one.title == "Hotels"]
items = [(item.item_type, item.item_id) for item in get_collection(found[0].slug).items]
print(len(found), items, api.model_info("lab/open", token=False).private)
print(api.model_info("lab/open", revision="v1.0").sha)
"""
    told = done(worker.execute(code, place)).out.split("\n")
    assert told[0] == "1 [('model', 'lab/open')] False"
    assert told[1] == hub.commits("lab/open")[0][0]


# ---------------------------------------------------------------- a causal language model


def test_a_causal_model_is_published_in_shards_and_scores_the_same(
    hub: HubServer, worker: HubWorker, decoder: Path, corpus_file: Path, place: Path  # noqa: F811
) -> None:  # fmt: skip
    resize = "import pipelines.training.saving as saving\nsaving.MAX_SHARD_SIZE = {!r}"
    done(worker.execute(resize.format("50KB"), place))
    try:
        done(worker.run("pretrain_clm", *tiny_run(Path("corpus.jsonl"), Path("sharded")), cwd=place))
    finally:
        done(worker.execute(resize.format("5GB"), place))
    told = done(worker.run("publish_to_hub", "sharded", "--publish.repo_id", "ada/decoder", cwd=place))
    assert "Loaded back" in told.err
    weights = [name for name in hub.files("ada/decoder") if name.endswith(".safetensors")]
    assert len(weights) >= 2 and "model.safetensors.index.json" in hub.files("ada/decoder")

    code = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
for name in ("sharded/model", "ada/decoder"):
    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name)
    ids = tokenizer("The array returns the values given 7.", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        print(model(input_ids=ids, labels=ids).loss.item())
"""
    here, there = done(worker.execute(code, place)).out.split()
    assert here == there

    done(worker.run("publish_to_hub", str(decoder), "--publish.repo_id", "ada/decoder", cwd=place))
    weights = [name for name in hub.files("ada/decoder") if ".safetensors" in name]
    assert weights == ["model.safetensors"], "no shard of the older model stays beside it"
    prompt = ("--generate.prompt", "The array", "--generate.do_sample", "false", "--generate.max_new_tokens", "8")
    ours, theirs = (done(worker.run("generate", name, *prompt, cwd=place)).out for name in ("decoder", "ada/decoder"))
    assert ours == theirs
    card = hub.files("ada/decoder")["README.md"].decode()
    assert done(worker.execute(code_of(card), place)).out.strip()
    metrics = json.loads((decoder / "metrics.json").read_text())
    found = {result.metric_type: result for result in ModelCard(card).data.eval_results}
    assert found["bits_per_byte"].metric_value == metrics["eval_bits_per_byte"]
    assert "documents in one block do not see each other" in card


# ---------------------------------------------------------------- an adapter


@pytest.fixture(scope="module")
def base(worker: HubWorker, place: Path) -> str:
    """A small encoder on the Hub, under Apache-2.0."""
    text = " ".join(row("classification", random.Random(seed))["text"] for seed in range(200))
    Path("words.json").write_text(json.dumps(sorted(set(re.findall(r"\w+|[^\w\s]", text.lower())))))
    code = """
import json
from huggingface_hub import ModelCard
from transformers import BertConfig, BertModel, BertTokenizerFast
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *json.load(open("words.json"))]
open("vocab.txt", "w").write("\\n".join(words))
config = BertConfig(vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                    num_attention_heads=2)
BertModel(config).push_to_hub("ada/base")
BertTokenizerFast("vocab.txt").push_to_hub("ada/base")
ModelCard("---\\nlicense: apache-2.0\\n---\\n# Base").push_to_hub("ada/base")
"""
    done(worker.execute(code, place))
    return "ada/base"


def test_an_adapter_is_published_alone_and_loads_its_base(
    hub: HubServer, worker: HubWorker, base: str, place: Path
) -> None:
    run = Path("adapted")
    argv = flags("classification", Path(), run)
    at = argv.index("--tokenizer.type")
    argv = [*argv[:at], *argv[at + 6 :], "--model.name", base, "--model.new_head", "true", "--lora.r", "4"]
    wanted = ("--publish.repo_id", "ada/adapter", "--publish.weights", "adapter")
    told = done(worker.run("finetune_classification", *argv, *wanted, cwd=place))
    assert "under apache-2.0" in told.err, "the licence of its base"
    assert "Loaded back" in told.err
    files = hub.files("ada/adapter")
    assert "adapter_model.safetensors" in files and "model.safetensors" not in files
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == base
    assert len(files["adapter_model.safetensors"]) < 0.8 * len(hub.files(base)["model.safetensors"])
    data = ModelCard(files["README.md"].decode()).data
    assert (data.base_model, data.base_model_relation, data.library_name) == (base, "adapter", "peft")
    assert done(worker.execute(code_of(files["README.md"].decode()), place)).out.strip() in ("good", "bad")

    rows = write_rows(Path(), "classification", 20, seed=8)
    arguments = ("--predict.input", str(rows), "--predict.threads", "1")
    merged, adapter = (
        [json.loads(line)["prediction"]["scores"] for line in done(one).out.splitlines()]
        for one in (worker.run("predict", name, *arguments, cwd=place) for name in (str(run), "ada/adapter"))
    )
    assert len(merged) == 20
    for here, there in zip(merged, adapter, strict=True):
        assert here == pytest.approx(there, abs=1e-5)

    whole = ("--publish.repo_id", "ada/adapter", "--publish.weights", "merged")
    done(worker.run("publish_to_hub", str(run), *whole, cwd=place))
    weights = [name for name in hub.files("ada/adapter") if name.endswith(".safetensors") or "adapter" in name]
    assert weights == ["model.safetensors"], "the adapter went when the whole model came"
    assert ModelCard(hub.files("ada/adapter")["README.md"].decode()).data.base_model_relation == "finetune"


# ---------------------------------------------------------------- data


def test_a_cleaned_corpus_is_published_as_a_dataset(
    hub: HubServer, worker: HubWorker, decoder: Path, place: Path
) -> None:
    argv = ("publish_to_hub", str(decoder), "--publish.content", "corpus", "--publish.repo_id", "ada/corpus")
    failed = worker.run(*argv, cwd=place)
    assert failed.code == 2
    assert "The licence of corpus is not known" in failed.err
    told = done(worker.run(*argv, "--publish.license", "mit", cwd=place))
    assert f"published {hub.url}/datasets/ada/corpus" in told.out
    card = hub.files("ada/corpus", repo_type="dataset")["README.md"].decode()
    assert DatasetCard(card).data.license == "mit"
    assert DatasetCard(card).data.size_categories == "n<1K"
    receipt = json.loads((decoder / "receipt.json").read_text())
    assert f"| Rows read | {receipt['train']['rows']['rows_read']} |" in card
    code = """
from datasets import load_dataset
import hashlib
for split, rows in load_dataset("ada/corpus").items():
    print(split, len(rows), rows.column_names)
"""
    kept = {split: receipt[split]["rows"]["rows_kept"] for split in ("train", "validation")}
    assert done(worker.execute(code, place)).out.splitlines() == [f"{name} {n} ['text']" for name, n in kept.items()]
    done(worker.execute(code_of(card), place))


def test_predictions_are_published_as_a_dataset(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    argv = ("--publish.content", "predictions", "--publish.license", "mit", "--publish.repo_id", "ada/said")
    done(worker.run("publish_to_hub", str(classifier), *argv, cwd=place))
    code = "from datasets import load_dataset\nrows = load_dataset('ada/said', split='validation')\nprint(len(rows))"
    assert done(worker.execute(code, place)).out == "30\n"
    assert "run" not in json.loads((classifier / "published_predictions.json").read_text())["files"]


@pytest.fixture(scope="module")
def secret(hub: HubServer, worker: HubWorker, place: Path) -> str:
    """A private data set of the Hub under a licence for non-commercial use."""
    write_rows(Path(), "classification", 40, seed=9)
    code = """
import json
from datasets import Dataset, DatasetDict
from huggingface_hub import DatasetCard, HfApi
rows = [json.loads(line) for line in open("classification-9.jsonl")]
DatasetDict({"train": Dataset.from_list(rows[:30]), "validation": Dataset.from_list(rows[30:])}).push_to_hub(
    "ada/secret", private=True)
card = DatasetCard.load("ada/secret")
card.data.license = "cc-by-nc-4.0"
card.push_to_hub("ada/secret")
"""
    done(worker.execute(code, place))
    return "ada/secret"


def test_rows_of_a_private_data_set_stay_private_and_its_licence_binds(
    hub: HubServer, worker: HubWorker, secret: str, place: Path
) -> None:
    argv = flags("classification", Path(), Path("of-secret"))
    at, end = argv.index("--data.files.train"), argv.index("--data.files.validation")
    argv = [part for place, part in enumerate(argv) if place not in (at, at + 1, end, end + 1)]
    argv += ["--data.name", secret, "--data.columns", "{text: text, label: label}"]
    wanted = ("--publish.repo_id", "ada/of-secret")
    failed = worker.run("finetune_classification", *argv, *wanted, "--publish.license", "mit", cwd=place)
    assert failed.code == 2 and "cc-by-nc-4.0, for non-commercial use alone" in failed.err
    done(worker.run("finetune_classification", *argv, *wanted, "--publish.license", "cc-by-nc-4.0", cwd=place))
    files = hub.files("ada/of-secret")
    assert "run/metrics.json" in files and "run/report.html" not in files
    data = ModelCard(files["README.md"].decode()).data
    assert data.datasets == [secret] and data.license == "cc-by-nc-4.0"
    assert "Licence: cc-by-nc-4.0" in files["README.md"].decode()

    argv = flags("classification", Path(), Path("from-it"))
    at = argv.index("--tokenizer.type")
    argv = [*argv[:at], *argv[at + 6 :], "--model.name", "of-secret", "--publish.repo_id", "ada/from-it"]
    failed = worker.run("finetune_classification", *argv, "--publish.license", "mit", cwd=place)
    assert failed.code == 2 and "has the licence cc-by-nc-4.0" in failed.err, "what its base was made of"


def test_a_push_leaves_nothing_of_the_one_before(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    push = ("publish_to_hub", str(classifier), "--publish.repo_id", "ada/twice", *PUSH)
    done(worker.run(*push, "--publish.checkpoints", "true", cwd=place))
    before = hub.commits("ada/twice")
    told = done(worker.run(*push, "--publish.records", "false", cwd=place))
    assert "of the push before" in told.err
    assert not [name for name in hub.files("ada/twice") if name.startswith(("run/", "checkpoints/"))]
    assert len(hub.commits("ada/twice")) == len(before) + 1, "card and weights change together"


def test_files_of_others_stay(hub: HubServer, worker: HubWorker, classifier: Path, place: Path) -> None:
    code = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("ada/mixed", private=True)
for name in ("big/model.safetensors", "run/notes.txt"):
    api.upload_file(path_or_fileobj=b"theirs", path_in_repo=name, repo_id="ada/mixed")
"""
    done(worker.execute(code, place))
    push = ("publish_to_hub", str(classifier), "--publish.repo_id", "ada/mixed", *PUSH)
    assert "that Plumbline did not put there" in worker.run(*push, cwd=place).err
    done(worker.run(*push, "--publish.exist_ok", "true", cwd=place))
    files = hub.files("ada/mixed")
    assert files["big/model.safetensors"] == files["run/notes.txt"] == b"theirs"


def test_a_new_branch_of_a_repository_that_is_there(
    hub: HubServer, worker: HubWorker, classifier: Path, place: Path
) -> None:
    push = ("publish_to_hub", str(classifier), "--publish.repo_id", "ada/reviews", *PUSH)
    done(worker.run(*push, "--publish.revision", "next", cwd=place))
    assert hub.files("ada/reviews", "next")["model.safetensors"] == hub.files("ada/reviews")["model.safetensors"]


def test_settings_of_a_push_need_one(worker: HubWorker, place: Path) -> None:
    failed = worker.run("finetune_classification", *flags("classification", Path(), Path("none")),
                        "--publish.private", "false", cwd=place)  # fmt: skip
    assert failed.code == 2 and "publish.private is False, which has no effect without --publish.repo_id" in failed.err
    assert not Path("none").exists()


# ---------------------------------------------------------------- other kinds


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        ("pretrain_seq2seq", "{model_type: t5, d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2}"),
        ("pretrain_clm", "{model_type: recurrent, cell_type: lstm, hidden_size: 16}"),
        ("train_tokenizer", None),
    ],
)
def test_an_export_that_cannot_be_made_is_refused_before_training(
    recipe: str, model: str | None, worker: HubWorker, decoder: Path, place: Path
) -> None:
    argv = ["--data.files.train", "corpus.jsonl", "--run.dir", "none", "--publish.repo_id", "ada/none"]
    argv += [] if model is None else ["--model.config", model]
    failed = worker.run(recipe, *argv, "--publish.export", "[onnx]", cwd=place)
    assert failed.code == 2
    assert "publish.export is" in failed.err
    assert not Path("none").exists()


@pytest.mark.parametrize("task", ["qa", "ner", "multiple_choice", "summarization", "chat"])
def test_models_of_other_tasks_are_published(task: str, hub: HubServer, worker: HubWorker, place: Path) -> None:
    recipe = f"finetune_{task}"
    wanted = ("--publish.repo_id", f"ada/{task}", "--evaluation.learning_curve", "false")
    wanted += ("--run.measure_energy", "true", "--run.country_iso_code", "FRA") * (task == "ner")
    told = done(worker.run(recipe, *flags(task, Path(), Path(f"run-{task}"), *wanted, steps=2), cwd=place))
    assert "Loaded back" in told.err
    card = hub.files(f"ada/{task}")["README.md"].decode()
    assert ModelCard(card).data.eval_results
    assert ("kg of CO2 by the electricity mix of FRA" if task == "ner" else "Energy was not measured.") in card
    done(worker.execute(code_of(card), place))


def test_tokenizers_and_vectors_are_published(hub: HubServer, worker: HubWorker, decoder: Path, place: Path) -> None:
    shared = ("--data.files.train", "corpus.jsonl", "--data.validation_share", "0.1")
    runs: dict[str, tuple[str, ...]] = {
        "train_tokenizer": ("--tokenizer.vocab_size", "300"),
        "train_embeddings": ("--embeddings.vector_size", "8", "--embeddings.epochs", "1"),
    }
    for recipe, more in runs.items():
        wanted = ("--run.dir", recipe, "--publish.repo_id", f"ada/{recipe}")
        told = done(worker.run(recipe, *shared, *more, *wanted, cwd=place))
        assert "published" in told.out
        card = hub.files(f"ada/{recipe}")["README.md"].decode()
        blocks: list[Any] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        for block in blocks:
            assert done(worker.execute(block, place)).out
