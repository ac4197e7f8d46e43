"""Tiny models and ragged rows: each once as plain transformers takes it, and once as Plumbline does."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from pipelines.data.collation import BlockCollator
from pipelines.data.examples import Examples, Ragged, TokenBudget
from pipelines.data.labelled import FILE, NUMBER, Rows
from pipelines.data.masking import Masking
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.models.attention_check import check_encoder
from pipelines.models.build import build_model
from pipelines.sections import MaskingConfig, ModelConfig, Seq2SeqModelConfig
from pipelines.task_sections import (
    ClassificationConfig,
    QuestionAnsweringConfig,
    SummarizationConfig,
    TokenClassificationConfig,
)
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.task import Limit, Task
from pipelines.tasks.text_generation import Summarization
from pipelines.tasks.token_classification import TokenClassification
from pipelines.training.objectives import CausalLanguageModeling, MaskedLanguageModeling
from pipelines.training.trainer import ExactTrainer, Objective

Kind = Literal["causal", "masked"]

SPECIAL = ("<bos>", "<eos>", "<pad>", "<mask>", "<unk>")
BOS, EOS, PAD, MASK, UNK = range(5)
VOCABULARY = 64
WORDS = [f"w{number}" for number in range(VOCABULARY - len(SPECIAL))]
BLOCK = 32  # positions of a block
LENGTHS = (3, 17, 12, 2, 9, 21, 25, 7)  # tokens of eight documents, which fill three blocks without a cut

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BERT = {"model_type": "bert", **SIZES, **NO_DROPOUT}
MODERNBERT = {"model_type": "modernbert", **SIZES}
LLAMA = {"model_type": "llama", **SIZES}
GPT2 = {
    "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2,
    "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip
OPT = {
    "model_type": "opt", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64,
    "word_embed_proj_dim": 32, "dropout": 0.0,
}  # fmt: skip
T5 = {
    "model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0,
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, made on the spot."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    backend = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    kinds = ("bos_token", "eos_token", "pad_token", "mask_token", "unk_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(kinds, SPECIAL, strict=True)))


def text(seed: int, words: int) -> str:
    """So many words drawn at random."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def tokens(seed: int, length: int) -> np.ndarray:
    """So many tokens of text drawn at random."""
    return np.random.default_rng(seed).integers(len(SPECIAL), VOCABULARY, length).astype(np.int32)


def packed(rows: list[np.ndarray], block_size: int) -> PackedDocuments:
    """Documents as Plumbline's blocks."""
    starts_D = np.cumsum([0, *map(len, rows[:-1])]).astype(np.int64)
    tokens_N = np.concatenate(rows).astype(np.int32)
    return PackedDocuments(tokens_N, starts_D, np.ones(len(tokens_N), dtype=np.int32), block_size, PAD)


def build(config: dict[str, Any], objective: Kind, positions: int = 64) -> PreTrainedModel:
    """The same small model every time, in fp32, without dropout."""
    torch.manual_seed(0)
    return build_model(objective, ModelConfig(config=config, attn_implementation="sdpa"), tokenizer(), positions)


# ---------------------------------------------------------------- heads


@dataclass(frozen=True)
class Head:
    """A model with eight rows of different length, for both sides.

    Attributes:
        model: fp32, no dropout, the same weights every time.
        features, collator: the rows as plain transformers takes them, and its own collator.
        examples, collate, objective: the same rows as Plumbline takes them, its collator and its loss.
        task, rows: of fine-tuning heads, for evaluation.
    """

    model: PreTrainedModel
    features: list[dict[str, Any]]
    collator: Callable[..., Any]
    examples: Examples
    collate: Callable[..., Any]
    objective: Objective
    task: Task | None = None
    rows: Rows | None = None


def task_head(task: Task, config: ModelConfig, rows: list[dict[str, Any]], collator: Callable[..., Any]) -> Head:
    """A fine-tuning head: the task encodes the rows, and transformers gets these very tokens and labels.

    Args:
        task: of Plumbline.
        config: of the model.
        rows: one map of roles each.
        collator: (tokenizer, model) -> the collator that transformers has for the head.
    """
    table = labelled(rows)
    task.learn(table, None)
    words = tokenizer()
    task.use_tokenizer(words, config)
    torch.manual_seed(0)
    model = task.build(config, 64)
    examples = task.encode(table, Limit(48, "truncate"), training=True)
    features = [_feature(examples.block(index)) for index in range(len(examples))]
    return Head(
        model, features, collator(words, model), examples, task.collate, task.loss(model, bf16=False), task, table
    )


def labelled(rows: list[dict[str, Any]]) -> Rows:
    """Maps of roles as labelled rows."""
    return Rows(pa.Table.from_pylist([row | {FILE: "rows", NUMBER: place} for place, row in enumerate(rows, 1)]))


def _feature(block: dict[str, np.ndarray]) -> dict[str, Any]:
    """An example as lists and numbers."""
    return {name: values.tolist() if len(values) > 1 else int(values[0]) for name, values in block.items()}


def classification(config: dict[str, Any]) -> Head:
    rows = [{"text": text(place, length), "label": place % 3} for place, length in enumerate(LENGTHS)]
    task = TextClassification(ClassificationConfig())
    return task_head(task, ModelConfig(config=config), rows, lambda words, model: DataCollatorWithPadding(words))


def tagging(config: dict[str, Any]) -> Head:
    rows = []
    for place, length in enumerate(LENGTHS):
        words = text(place, length).split()
        rows.append({"tokens": words, "tags": ["XYZ"[int(word[1:]) % 3] for word in words]})
    task = TokenClassification(TokenClassificationConfig())
    return task_head(
        task, ModelConfig(config=config), rows, lambda words, model: DataCollatorForTokenClassification(words)
    )


def answering(config: dict[str, Any]) -> Head:
    rows = []
    for place, length in enumerate(LENGTHS):
        context = text(place, length)
        answer = context.split()[-1]
        rows.append(
            {
                "question": "w1 w2",
                "context": context,
                "answers": {"text": [answer], "answer_start": [context.rfind(answer)]},
            }
        )
    task = QuestionAnswering(QuestionAnsweringConfig(stride=2))
    return task_head(task, ModelConfig(config=config), rows, lambda words, model: DataCollatorWithPadding(words))


def summary(place: int) -> str:
    """The summary of a row: one to six words."""
    return text(place, 1 + place * 7 % 6)


def summarization(config: dict[str, Any]) -> Head:
    rows = [{"document": text(place, length), "summary": summary(place)} for place, length in enumerate(LENGTHS)]
    task = Summarization(SummarizationConfig(max_target_length=8))
    return task_head(
        task, Seq2SeqModelConfig(config=config), rows, lambda words, model: DataCollatorForSeq2Seq(words, model=model)
    )


def causal(config: dict[str, Any]) -> Head:
    """Next-token prediction: a row is a document, padded on the right by both."""
    blocks = [packed([tokens(place, length)], BLOCK).block(0) for place, length in enumerate(LENGTHS)]
    features = [{"input_ids": tokens(place, length).tolist()} for place, length in enumerate(LENGTHS)]
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm=False)
    model = build(config, "causal")
    return Head(
        model, features, collator, stacked(blocks, "shift_labels"), BlockCollator(), CausalLanguageModeling(bf16=False)
    )


def masked(config: dict[str, Any]) -> Head:
    """Masked-token prediction with masks drawn beforehand: transformers' own collator would draw others per batch."""
    model, mask = build(config, "masked"), masking()
    blocks, features = [], []
    for place, length in enumerate(LENGTHS):
        block = mask.row(packed([framed(place, length)], BLOCK), 0, np.random.default_rng(place))
        blocks.append(block)
        features.append({name: block[name][: length + 2].tolist() for name in ("input_ids", "labels")})
    objective = MaskedLanguageModeling(False, *check_encoder(model, isolate_documents=True))
    collator = DataCollatorForTokenClassification(tokenizer())
    return Head(model, features, collator, stacked(blocks, "labels"), BlockCollator(), objective)


def framed(seed: int, length: int) -> np.ndarray:
    """A document with so many tokens of text between BOS and EOS."""
    return np.concatenate(([BOS], tokens(seed, length), [EOS])).astype(np.int32)


def masking() -> Masking:
    """Masks 40 % of the text."""
    return Masking.of(MaskingConfig(mlm_probability=0.4), tokenizer())


def stacked(blocks: list[dict[str, np.ndarray]], target: str) -> Examples:
    """Blocks of equal length, a document each, as what a run trains on."""
    fields = {name: Ragged([block[name].tolist() for block in blocks], np.int64) for name in blocks[0]}
    targets_E = np.array([(block[target] != -100).sum() for block in blocks])
    return Examples(fields, (target,), np.arange(len(blocks)), targets_E, BLOCK, PAD, {}, [])


HEADS: dict[str, Callable[[], Head]] = {
    "classification BERT": lambda: classification(BERT),
    "classification Llama": lambda: classification(LLAMA),
    "tags BERT": lambda: tagging(BERT),
    "answers BERT": lambda: answering(BERT),
    "seq2seq T5": lambda: summarization(T5),
    "masked BERT": lambda: masked(BERT),
    "masked ModernBERT": lambda: masked(MODERNBERT),
    "causal Llama": lambda: causal(LLAMA),
    "causal GPT-2": lambda: causal(GPT2),
}


# ---------------------------------------------------------------- trainers


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    """TrainingArguments for this machine's CPU; nothing that changes a figure."""
    quiet: dict[str, Any] = {"disable_tqdm": True, "log_level": "warning", "dataloader_pin_memory": False}
    return TrainingArguments(output_dir=str(folder), use_cpu=True, **quiet, **settings)


def plain_trainer(model: PreTrainedModel, folder: Path, collator: Callable[..., Any], **given: Any) -> Trainer:
    """transformers.Trainer as it is, but for printing its log.

    Args:
        model: to train.
        folder: output_dir.
        collator: makes batches.
        given: `train`, `evaluate` (data sets) and `callbacks`; all else are TrainingArguments.
    """
    data = {"train_dataset": given.pop("train", None), "eval_dataset": given.pop("evaluate", None)}
    callbacks = given.pop("callbacks", None)
    trainer = Trainer(model=model, args=arguments(folder, **given), data_collator=collator, callbacks=callbacks, **data)
    trainer.remove_callback(PrinterCallback)
    return trainer


def exact_trainer(
    model: PreTrainedModel,
    folder: Path,
    blocks: TrainingBlocks,
    collate: Callable[..., Any],
    objective: Objective,
    callbacks: list[TrainerCallback] | None = None,
    **settings: Any,
) -> ExactTrainer:
    """Plumbline's trainer with the same TrainingArguments."""
    return ExactTrainer(
        model=model,
        args=arguments(folder, remove_unused_columns=False, **settings),
        train_dataset=blocks,
        data_collator=collate,
        processing_class=None,  # type: ignore[arg-type]
        objective=objective,
        evaluate_model=lambda model: {},
        log_event=lambda event: None,
        epoch_of_step=float,
        flops_per_token=1.0,
        callbacks=callbacks,
    )


class Gradients(TrainerCallback):
    """Keeps the gradients of the last step, as the optimizer gets them."""

    gradient: torch.Tensor

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.gradient = torch.cat([one.grad.flatten().double() for one in model.parameters() if one.grad is not None])


@dataclass(frozen=True)
class Steps:
    """What steps over all eight rows gave.

    Attributes:
        loss: as logged for the first step.
        gradient: of the last step, all weights end to end (fp64).
        moved: how all steps together moved the weights, end to end (fp64).
    """

    loss: float
    gradient: torch.Tensor
    moved: torch.Tensor


SGD: dict[str, Any] = {
    "max_steps": 1,
    "learning_rate": 1.0,
    "optim": "sgd",
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,  # no clipping
}
ADAMW: dict[str, Any] = {
    "max_steps": 10,
    "learning_rate": 1e-3,
}  # all else as it is by default: clipping at 1, linear decay


def plain_steps(head: Head, rows: int, accumulation: int, folder: Path, settings: dict[str, Any] = SGD) -> Steps:
    """Steps over the eight rows by transformers.Trainer."""

    def make(kept: Gradients, **given: Any) -> Trainer:
        sequential = {"train_sampling_strategy": "sequential"}
        return plain_trainer(
            head.model, folder, head.collator, train=head.features, callbacks=[kept], **sequential, **given
        )

    return _steps(head.model, make, rows, accumulation, settings)


def exact_steps(head: Head, rows: int, accumulation: int, folder: Path, settings: dict[str, Any] = SGD) -> Steps:
    """The same by Plumbline."""
    places = 8 * settings["max_steps"]
    blocks = TrainingBlocks(head.examples, TrainingOrder(len(head.examples), seed=0), places, places)
    collate = TokenBudget(head.collate, None, head.examples.has_decoder)

    def make(kept: Gradients, **given: Any) -> Trainer:
        return exact_trainer(head.model, folder, blocks, collate, head.objective, [kept], **given)

    return _steps(head.model, make, rows, accumulation, settings)


def _steps(
    model: PreTrainedModel, make: Callable[..., Trainer], rows: int, accumulation: int, settings: dict[str, Any]
) -> Steps:
    kept, before = Gradients(), _end_to_end(model)
    trainer = make(
        kept,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        logging_steps=1,
        save_strategy="no",
        **settings,
    )
    trainer.train()
    loss = next(float(event["loss"]) for event in trainer.state.log_history if "loss" in event)
    return Steps(loss, kept.gradient, _end_to_end(model) - before)


def _end_to_end(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([one.detach().flatten().double() for one in model.parameters()])
