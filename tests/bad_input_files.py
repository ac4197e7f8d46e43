"""The files that the bad inputs of tests/bad_inputs.py read: rows, damaged files, cards, models and run folders."""

import atexit
import builtins
import errno
import fcntl
import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from conftest import RECIPES, TINY_MODEL, sentences
from ray_stand_in import stand_in

Content = str | bytes | Callable[[Path], None]  # of a file, or what makes a file or folder at a path

BERT = "{model_type: bert, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}"
T5 = "{model_type: t5, d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2}"
MODELS = {"mlm": BERT, "contrastive": BERT, "seq2seq": T5, "summarization": T5, "translation": T5, "chat": TINY_MODEL}


def write(folder: Path, files: dict[str, Content]) -> None:
    """Puts files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


# ---------------------------------------------------------------- texts and rows


def rows(*values: Any) -> str:
    """Json lines."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def corpus(count: int = 200) -> str:
    """Documents of a pretraining run, as json lines."""
    return rows(*({"text": text} for text in sentences(count)))


def review(number: int, **others: Any) -> dict[str, Any]:
    return {"text": f"film {number}", "label": ("bad", "good")[number % 2]} | others


def question(number: int, **others: Any) -> dict[str, Any]:
    context, answers = f"The sort function, {number}.", {"text": ["sort"], "answer_start": [4]}
    return {"question": f"Which is number {number}?", "context": context, "answers": answers} | others


def tagged(number: int, **others: Any) -> dict[str, Any]:
    return {"tokens": ["Ann", f"saw{number}", "Rome"], "tags": ["B-PER", "O", "B-LOC"]} | others


def riddle(number: int, **others: Any) -> dict[str, Any]:
    return {"text": f"Which is red, {number}?", "choices": ["blood", "grass", "snow"], "label": 0} | others


def document(number: int, **others: Any) -> dict[str, Any]:
    return {"document": f"Function {number} returns nothing at all.", "summary": f"Returns {number}."} | others


def pair(number: int, **others: Any) -> dict[str, Any]:
    return {"source": f"one {number}", "target": f"un {number}"} | others


def talk(number: int, *turns: tuple[str, str]) -> dict[str, Any]:
    spoken = turns or (("user", f"Who is {number}?"), ("assistant", f"I am {number}."))
    return {"messages": [{"role": role, "content": content} for role, content in spoken]}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "classification": review,
    "qa": question,
    "ner": tagged,
    "multiple_choice": riddle,
    "summarization": document,
    "translation": pair,
    "chat": talk,
}


def four(task: str, *more: dict[str, Any]) -> str:
    """Four good rows of a task as json lines, then bad ones, the first of which is row 5."""
    return rows(*(ROWS[task](number) for number in range(4)), *more)


# ---------------------------------------------------------------- small runs


def small(name: str, **sections: dict[str, Any]) -> dict[str, Content]:
    """A config small.yaml for a run of some seconds, and the file of its data.

    Args:
        name: what stands behind pretrain_ or finetune_ in the recipe's name.
        sections: keys that replace others; None: left out.
    """
    is_pretraining = name in ("clm", "mlm", "seq2seq", "contrastive")
    values: dict[str, dict[str, Any]] = {
        "run": {"dir": "run", "threads": 1},
        "data": {"files": {"train": "corpus.jsonl" if is_pretraining else "rows.jsonl"}},
        "tokenizer": {"vocab_size": 300, "type": "bpe"},
        "model": {"config": yaml.safe_load(MODELS.get(name, TINY_MODEL if name == "clm" else BERT))},
        "training": {"max_steps": 2, "per_device_train_batch_size": 4, "bf16": False},
    }
    if is_pretraining:
        values["data"] |= {"block_size": 32, "validation_share": 0.1}
    if name == "chat":
        values["task"] = {"chat_template": "chatml", "max_new_tokens": 8}
    for section, changes in sections.items():
        changed = values.get(section, {}) | changes
        values[section] = {key: value for key, value in changed.items() if value is not None}
    text = "# A small run, to see mistakes in.\n" + yaml.safe_dump(values, sort_keys=False, width=120)
    return {"small.yaml": text} | ({"corpus.jsonl": corpus()} if is_pretraining else {"rows.jsonl": four(name)})


def small_embeddings() -> dict[str, Content]:
    """A config small.yaml for recipes/train_embeddings.py, and its corpus."""
    values: dict[str, Any] = {"run": {"dir": "run"}, "data": {"files": {"train": "corpus.jsonl"}}}
    values["evaluation"] = {"builtin_sets": False}
    return {"small.yaml": yaml.safe_dump(values, sort_keys=False), "corpus.jsonl": corpus(20)}


def small_tokenizer() -> dict[str, Content]:
    """A config small.yaml for recipes/train_tokenizer.py, and its corpus."""
    values = {"run": {"dir": "run"}, "data": {"files": {"train": "corpus.jsonl"}}, "tokenizer": {"vocab_size": 300}}
    return {"small.yaml": yaml.safe_dump(values, sort_keys=False), "corpus.jsonl": corpus(20)}


def small_preparation() -> dict[str, Content]:
    """A config small.yaml for recipes/prepare_corpus.py, and its corpus."""
    values = {"run": {"dir": "run"}, "data": {"files": {"train": "corpus.jsonl"}}, "prepare": {"workers": 1}}
    return {"small.yaml": yaml.safe_dump(values, sort_keys=False), "corpus.jsonl": corpus(20)}


# ---------------------------------------------------------------- damaged and compressed files


def gz(text: str, keep: float = 1.0) -> bytes:
    """Gzip, of which only a share is kept."""
    packed = gzip.compress(text.encode(), mtime=0)
    return packed[: int(len(packed) * keep)]


def parquet(columns: dict[str, list[Any]], keep: float = 1.0) -> bytes:
    """A Parquet file, of which only a share is kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    packed = stream.getvalue()
    return packed[: int(len(packed) * keep)]


def folder_of(**files: Content) -> Callable[[Path], None]:
    """A folder with files; `_dot_` in a name stands for a dot."""
    return lambda path: (path.mkdir(), write(path, {name.replace("_dot_", "."): one for name, one in files.items()}))[0]


# ---------------------------------------------------------------- cards


def card(*keys: str | int, to: Any = ..., text: str | None = None) -> str:
    """The README.md of a card with two files of reviews; the value at a path of keys is replaced, None: removed."""
    front: Any = {
        "license": "mit",
        "language": ["en"],
        "pretty_name": "Reviews",
        "task_categories": ["text-classification"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "a.jsonl"}, {"split": "validation", "path": "b.jsonl"}],
            }
        ],
        "dataset_info": {"features": [{"name": "review", "dtype": "string"}, {"name": "stars", "dtype": "int64"}]},
        "train-eval-index": [
            {
                "config": "default",
                "task": "text-classification",
                "splits": {"train_split": "train", "eval_split": "validation"},
                "col_mapping": {"review": "text", "stars": "label"},
            }
        ],
    }
    place = front
    for key in keys[:-1]:
        place = place[key]
    if keys and to is None:
        del place[keys[-1]]
    elif keys:
        place[keys[-1]] = to
    return f"---\n{yaml.safe_dump(front, sort_keys=False) if text is None else text}---\n\n# Reviews\n"


def with_card(readme: str, first: str | None = None) -> dict[str, Content]:
    """A folder my_card with a card, and its data."""
    good = rows(*({"review": f"film {number}", "stars": number % 2} for number in range(4)))
    return {"my_card/README.md": readme, "my_card/a.jsonl": first or good, "my_card/b.jsonl": good}


# ---------------------------------------------------------------- models

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "what", "is", "it", "?"]
SHAPE = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
SHAPE |= {"num_attention_heads": 2, "max_position_embeddings": 32}
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "encoder": ("BertModel", {}),
    "classifier": ("BertForSequenceClassification", {"id2label": {0: "neg", 1: "pos"}}),
    "tagger": ("BertForTokenClassification", {"id2label": {0: "O", 1: "B-PER"}}),
    "reader": ("BertForQuestionAnswering", {}),
    "decoder": ("LlamaForCausalLM", {"num_key_value_heads": 2}),
}


@cache
def _models() -> Path:
    """A folder of tiny models made with transformers, for this process."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    transformers.logging.disable_progress_bar()
    folder = Path(tempfile.mkdtemp(prefix="plumbline-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    for name, (kind, more) in HEADS.items():
        made = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
        config = getattr(transformers, kind).config_class(**SHAPE, **more)
        getattr(transformers, kind)(config).save_pretrained(folder / name)
        made.save_pretrained(folder / name)
    endless = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    endless.save_pretrained(folder / "endless")  # nothing that ends a text
    return folder


def model(name: str, **changed: Any) -> Callable[[Path], None]:
    """A model folder; None for a file takes it away, other content replaces it; `_dot_` stands for a dot."""

    def make(path: Path) -> None:
        shutil.copytree(_models() / name, path)
        for file, content in changed.items():
            place = path / file.replace("_dot_", ".")
            if content is None:
                place.unlink()
            else:
                write(path, {place.name: content})

    return make


# ---------------------------------------------------------------- run folders


def run_of(command: str, files: dict[str, Content], **written: Any) -> Callable[[Path], None]:
    """A run folder as a stopped run of a command would leave it, made without training.

    Args:
        command: recipe and flags, such as `pretrain_clm.py --config small.yaml`.
        files: what the command reads.
        written: further files of the folder by their name (`_dot_` stands for a dot): text, or what is written as JSON.
    """

    def make(path: Path) -> None:
        from pipelines.config import config_to_yaml, parse_config

        recipe, *flags = command.split()
        module = importlib.import_module(recipe.removesuffix(".py"))
        with tempfile.TemporaryDirectory() as aside:
            write(Path(aside), files)
            placed = [str(Path(aside) / part) if part in files else part for part in flags]
            config = parse_config(module.Config, str(RECIPES / recipe), placed)
        path.mkdir()
        texts: dict[str, Content] = {"config.yaml": config_to_yaml(config)}
        for name, content in written.items():
            texts[name.replace("_dot_", ".")] = content if isinstance(content, str) else json.dumps(content)
        write(path, texts)

    return make


def checkpoint(*, changed: bool) -> Callable[[Path], None]:
    """A folder checkpoint-4 as it was sealed, or with a file changed since."""
    sealed = hashlib.sha256(b"weights").hexdigest()
    return folder_of(
        **{"model_dot_safetensors": "torn" if changed else "weights"},
        checksums_dot_json=json.dumps({"model.safetensors": sealed}),
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Files called locked may not be read, as without the right to; whoever runs this may be root."""
    really_open = io.open

    def refuse(file: Any, *args: Any, **options: Any) -> Any:
        if Path(str(file)).name.startswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return really_open(file, *args, **options)

    with mock.patch.object(builtins, "open", refuse), mock.patch.object(io, "open", refuse):
        yield


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run folder `run` as another process that runs in it holds it."""
    (folder / "run").mkdir(exist_ok=True)
    with (folder / "run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def without_ray(folder: Path) -> Iterator[None]:
    """Ray is not installed."""
    find = importlib.util.find_spec
    with mock.patch("importlib.util.find_spec", lambda name, *more: None if name == "ray" else find(name, *more)):
        yield


@contextmanager
def with_ray(folder: Path) -> Iterator[None]:
    """Ray is installed, or something in its place."""
    with stand_in():
        yield
