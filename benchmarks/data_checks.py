"""Rows and tokens on their way into a model, and predictions on their way out."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorWithFlattening,
    DataCollatorWithPadding,
    PreTrainedModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    default_data_collator,
)

from benchmarks.finding import Finding, heard, quoted, told
from benchmarks.tiny import (
    BERT,
    BOS,
    EOS,
    GPT2,
    HEADS,
    LENGTHS,
    LLAMA,
    MODERNBERT,
    OPT,
    PAD,
    Kind,
    build,
    classification,
    labelled,
    packed,
    plain_trainer,
    text,
    tokenizer,
    tokens,
)
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments
from pipelines.data.tokenization import tokenize
from pipelines.errors import ConfigError
from pipelines.finetuning.evaluating import Evaluator
from pipelines.models.attention_check import check_attention, check_encoder
from pipelines.tasks.task import Limit

LEAK = 1e-4  # a logit differs by 1e-6 from rounding, by 1e-3 and more where documents see each other

# ---------------------------------------------------------------- packing


def packing() -> list[Finding]:
    """Eight documents in one row, as DataCollatorWithFlattening and as group_texts of transformers' examples pack them.

    A user meets it as a model that is trained on contexts which it will never have, and learns nothing of where a
    document begins; no message tells. What is compared are logits, packed against each document alone.
    """
    decoders = {"Llama": build(LLAMA, "causal", 128), "GPT-2": build(GPT2, "causal", 128)}
    by_hand = {name: _by_hand(model) for name, model in decoders.items()}  # before Trainer sets use_cache
    ours = {name: _isolated(model, "causal") for name, model in decoders.items()}
    same = "logits of packed documents = logits of each alone"
    findings = []
    for check, how, found in (
        ("decoders", "DataCollatorWithFlattening", {name: _flattened(model) for name, model in decoders.items()}),
        (
            "decoders, attention_mask",
            "the same with an attention_mask of ones",
            {name: _flattened(model, with_mask=True) for name, model in decoders.items()},
        ),
        (
            "decoders, group_texts",
            "a block of group_texts (mask of ones, no position_ids)",
            {name: _grouped(model) for name, model in decoders.items()},
        ),
        ("decoders, by hand", "model(...) outside of Trainer, use_cache at its default", by_hand),
    ):
        findings.append(_leak_finding(f"packing: {check}", same, how, found, ours))
    others = {
        "OPT": build(OPT, "causal", 128),
        "BERT": build(BERT, "masked", 128),
        "ModernBERT": build(MODERNBERT, "masked", 128),
    }
    found = {name: _flattened(model) for name, model in others.items()}
    ours = {name: _isolated(model, "causal" if name == "OPT" else "masked") for name, model in others.items()}
    findings.append(_leak_finding("packing: encoders and OPT", same, "DataCollatorWithFlattening", found, ours))
    return findings


def _leak_finding(
    check: str, should_hold: str, how: str, found: dict[str, float], ours: dict[str, float | None]
) -> Finding:
    cells = ", ".join(f"{name} {difference:.1g}" for name, difference in found.items())
    shown = ", ".join(f"{name} {'refused' if one is None else f'{one:.0e}'}" for name, one in ours.items())
    return Finding(
        check,
        should_hold,
        f"{how}: off by {cells}",
        max(found.values()) < LEAK,
        shown,
        all(one is None or one < LEAK for one in ours.values()),
        {"trainer": found, "plumbline": ours},
    )


def _documents() -> list[np.ndarray]:
    return [tokens(place, length) for place, length in enumerate(LENGTHS)]


def _separate(model: PreTrainedModel) -> torch.Tensor:
    """Logits of each document alone, end to end (N, V)."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.from_numpy(one)[None].long()).logits[0] for one in _documents()])


def _off_by(model: PreTrainedModel, logits_NV: Any) -> float:
    """The largest difference of a logit."""
    return float((torch.as_tensor(logits_NV) - _separate(model)).abs().max())


def _predicted(model: PreTrainedModel, features: list[dict[str, Any]], collator: Callable[..., Any]) -> np.ndarray:
    """Logits of Trainer.predict, of one row."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = plain_trainer(model, Path(folder), collator, per_device_eval_batch_size=8)
        return trainer.predict(features).predictions[0]  # type: ignore[arg-type]


def _flattened(model: PreTrainedModel, with_mask: bool = False) -> float:
    flatten = DataCollatorWithFlattening()

    def collator(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = flatten(features)
        return batch | ({"attention_mask": torch.ones_like(batch["input_ids"])} if with_mask else {})

    return _off_by(model, _predicted(model, [{"input_ids": one.tolist()} for one in _documents()], collator))


def _grouped(model: PreTrainedModel) -> float:
    encoded = {"input_ids": [one.tolist() for one in _documents()]}
    encoded["attention_mask"] = [[1] * len(one) for one in encoded["input_ids"]]
    block = grouped(encoded, sum(LENGTHS))
    features = [{name: values[0] for name, values in block.items()}]
    return _off_by(model, _predicted(model, features, default_data_collator))


def grouped(columns: dict[str, list[list[int]]], block_size: int) -> dict[str, list[list[int]]]:
    """What `group_texts` of transformers' run_clm.py and run_mlm.py does to a batch of 1,000 documents.

    All documents end to end, cut into blocks; what is left over at the end of the batch is dropped.
    """
    joined = {name: list(chain.from_iterable(values)) for name, values in columns.items()}
    whole = len(joined["input_ids"]) // block_size
    blocks = {
        name: [values[block * block_size : (block + 1) * block_size] for block in range(whole)]
        for name, values in joined.items()
    }
    return blocks | {"labels": blocks["input_ids"]}


def _by_hand(model: PreTrainedModel) -> float:
    batch = DataCollatorWithFlattening()([{"input_ids": one.tolist()} for one in _documents()])
    model.config.use_cache = True  # as in every config of transformers; Trainer and Plumbline turn it off
    with torch.no_grad():
        logits = model.eval()(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits[0]
    return _off_by(model, logits)


def _isolated(model: PreTrainedModel, objective: Kind) -> float | None:
    """The same for a block of Plumbline, in the inputs of its objectives; None: the model is refused."""
    block = packed(_documents(), sum(LENGTHS)).block(0)
    batch = {name: torch.from_numpy(values)[None] for name, values in block.items()}
    try:
        if objective == "masked":
            inputs, _ = check_encoder(model, isolate_documents=True)
            given = inputs(batch)
        else:
            check_attention(model, isolate_documents=True)
            given = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], "use_cache": False}
    except ConfigError:
        return None
    with torch.no_grad():
        return _off_by(model, model.eval()(**given).logits[0])


# ---------------------------------------------------------------- tokens


def eos() -> list[Finding]:
    """The end of a document as a target, where the padding token is the EOS token (GPT-2, Llama and many others).

    A user meets it as a model that never stops writing: DataCollatorForLanguageModeling takes every padding token out
    of the labels, and with it every EOS.
    """
    words = tokenizer()
    words.pad_token = words.eos_token
    texts = [text(seed, 3 + seed % 9) for seed in range(40)]
    with our_cache():
        documents, _ = tokenize(Dataset.from_dict({"text": texts}), words, 16, "eos", "train")
        ours = sum(int((block["shift_labels"] == EOS).sum()) for block in _blocks(documents))
    rows = [{"input_ids": [BOS, *ids, EOS]} for ids in words(texts, add_special_tokens=False)["input_ids"]]
    labels = DataCollatorForLanguageModeling(words, mlm=False)(rows)["labels"]
    kept = int((labels == EOS).sum())
    return [
        Finding(
            "eos",
            f"with pad = eos, the EOS of each of {len(texts)} documents is learnt",
            f"{kept} of {len(texts)} are labels",
            kept == len(texts),
            f"{ours} of {len(texts)}",
            ours == len(texts),
            {"trainer": kept, "plumbline": ours, "documents": len(texts)},
        )
    ]


def dropped(documents: int = 2_500, block_size: int = 512) -> list[Finding]:
    """Tokens that group_texts of the examples loses: the remainder of every 1,000 documents.

    A user meets it as an epoch that is shorter than the data; the share is large where documents are short or blocks
    are long. The first token of each block is never predicted either.
    """
    words = tokenizer()
    data = Dataset.from_dict({"text": [text(seed, 2 + seed % 12) for seed in range(documents)]})
    encoded = data.map(lambda rows: words(rows["text"]), batched=True, remove_columns=["text"])
    blocks = encoded.map(
        lambda rows: grouped(dict(rows), block_size), batched=True, remove_columns=encoded.column_names
    )
    read = sum(map(len, encoded["input_ids"]))
    used = sum(map(len, blocks["input_ids"]))
    learnt = used - len(blocks)
    with our_cache():
        stream, counts = tokenize(data, words, block_size, "dropped", "train")
        ours = sum(int((block["input_ids"] != PAD).sum()) for block in _blocks(stream))
        targets = sum(int((block["shift_labels"] != IGNORE_INDEX).sum()) for block in _blocks(stream))
    frame = counts["bos_tokens"] + counts["eos_tokens"]
    return [
        Finding(
            "dropped",
            f"all tokens of {documents:,} documents are in a block of {block_size}, and predicted",
            f"{read - used:,} of {read:,} dropped ({1 - used / read:.1%}), {used - learnt} more never predicted",
            used == read and learnt == read,
            f"{counts['tokens'] - ours} of {counts['tokens']:,} dropped ({read:,} of text, {frame:,} BOS and EOS); "
            f"all but the {documents:,} BOS predicted once",
            ours == counts["tokens"] and targets == counts["tokens"] - documents and counts["text_tokens"] == read,
            {
                "trainer": {"read": read, "in_blocks": used, "predicted": learnt},
                "plumbline": {"read": counts["tokens"], "in_blocks": ours, "predicted": targets},
            },
        )
    ]


def truncation(max_length: int = 32) -> list[Finding]:
    """Tokens cut by `tokenizer(..., truncation=True, max_length=...)`, and what is said of it up to the first step.

    A user meets it as a model that has never seen the end of its texts.
    """
    head = classification(BERT)
    rows = [{"text": text(seed, 5 + 3 * seed), "label": seed % 3} for seed in range(24)]
    assert head.task is not None
    words = head.task.tokenizer
    whole = sum(map(len, words([row["text"] for row in rows])["input_ids"]))
    with heard() as messages, tempfile.TemporaryDirectory() as folder:
        encoded = words([row["text"] for row in rows], truncation=True, max_length=max_length)["input_ids"]
        features = [{"input_ids": ids, "labels": row["label"]} for ids, row in zip(encoded, rows, strict=True)]
        plain_trainer(
            head.model, Path(folder), DataCollatorWithPadding(words), train=features, max_steps=1, save_strategy="no"
        ).train()
    cut = whole - sum(map(len, encoded))
    counts = head.task.encode(labelled(rows), Limit(max_length, "truncate"), training=True).counts
    return [
        Finding(
            "truncation",
            "tokens that are cut off are told of",
            f"{cut} of {whole} tokens cut; {told(messages)}",
            cut == 0 or bool(messages),
            f"receipt: {counts['tokens_truncated']} tokens of {counts['rows_truncated']} rows truncated",
            counts["tokens_truncated"] == cut,
            {"trainer": {"cut": cut, "of": whole, "said": list(messages)}, "plumbline": counts},
        )
    ]


def _blocks(documents: PackedDocuments) -> list[dict[str, np.ndarray]]:
    return [documents.block(index) for index in range(len(documents))]


@contextmanager
def our_cache() -> Iterator[None]:
    """Plumbline's cache in a folder of its own, so that nothing is measured of an earlier run."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"PLUMBLINE_CACHE": folder}):
        yield


# ---------------------------------------------------------------- predictions


def predict() -> list[Finding]:
    """What Trainer.predict returns for rows of different length, given to a metric as it is.

    A user meets it as an accuracy that is too low, or as an OverflowError of batch_decode: predictions and labels are
    filled up with -100 to the longest batch. The documentation says so; nothing at run time does.
    """
    return [_predicted_tags(), _predicted_texts()]


def _predicted_tags() -> Finding:
    head = HEADS["tags BERT"]()
    with tempfile.TemporaryDirectory() as folder:
        trainer = plain_trainer(head.model, Path(folder), head.collator, per_device_eval_batch_size=3)
        output = trainer.predict(head.features)  # type: ignore[arg-type]
    said, labels = output.predictions.argmax(-1).ravel(), output.label_ids.ravel()  # type: ignore[union-attr]
    filled = int((output.predictions == IGNORE_INDEX).all(-1).sum())  # type: ignore[union-attr]
    naive, right = float((said == labels).mean()), float((said == labels)[labels != IGNORE_INDEX].mean())
    evaluator = Evaluator(head.task, head.rows, head.examples, head.objective, 3, None)  # type: ignore[arg-type]
    ours = evaluator(head.model)["eval_accuracy"]
    return Finding(
        "predict: tags",
        "accuracy of what predict returns = accuracy over the tagged words",
        f"{naive:.3f} instead of {right:.3f}: {filled} of {len(said)} positions are filled up with -100",
        abs(naive - right) < 1e-6,
        f"{ours:.3f}",
        abs(ours - right) < 1e-6,
        {"trainer": {"as_returned": naive, "labelled": right, "filled": filled}, "plumbline": ours},
    )


def _predicted_texts() -> Finding:
    head = HEADS["seq2seq T5"]()
    assert head.task is not None
    words = head.task.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        settings = Seq2SeqTrainingArguments(
            output_dir=folder, use_cpu=True, disable_tqdm=True, log_level="warning", dataloader_pin_memory=False,
            predict_with_generate=True, per_device_eval_batch_size=3,
        )  # fmt: skip
        trainer = Seq2SeqTrainer(model=head.model, args=settings, data_collator=head.collator, processing_class=words)
        output = trainer.predict(head.features)  # type: ignore[arg-type]
    filled = {name: int((getattr(output, name) == IGNORE_INDEX).sum()) for name in ("predictions", "label_ids")}
    errors = {name: _decoding_error(words, getattr(output, name)) for name in filled}
    assert head.rows is not None
    examples = head.task.encode(head.rows, Limit(48, "truncate"), training=False)
    evaluator = Evaluator(head.task, head.rows, examples, head.objective, 3, None)  # type: ignore[arg-type]
    texts = [one["text"] for one in evaluator.predict(head.model)]
    cells = [f"{name} ({filled[name]} x -100): {error or 'decoded'}" for name, error in errors.items()]
    return Finding(
        "predict: texts",
        "batch_decode of what predict_with_generate returns gives texts",
        "; ".join(cells),
        not any(errors.values()),
        f"{len(texts)} texts",
        len(texts) == len(head.features) and all(isinstance(one, str) for one in texts),
        {"trainer": {"filled": filled, "errors": errors}, "plumbline": texts},
    )


def _decoding_error(words: Any, ids: Any) -> str | None:
    try:
        words.batch_decode(ids, skip_special_tokens=True)
    except (OverflowError, ValueError, TypeError) as error:
        return quoted(error)
    return None
