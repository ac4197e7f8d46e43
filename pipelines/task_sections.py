"""The typed sections of fine-tuning configs. The docstring under a field is its `--help` text."""

from dataclasses import dataclass, field
from typing import Literal

from pipelines.sections import SourceConfig, TrainingConfig


@dataclass
class LabelledDataConfig(SourceConfig):
    """data: the labelled rows, their splits and their length (docs/finetuning.md)."""

    label_names: list[str] | None = None
    """Names of the labels 0, 1, ... Default: the data card's or file's, else the distinct labels of the data."""
    validation_share: float = 0.1
    """Share of the training rows (of distinct inputs) held out when there is no validation split."""
    split_seed: int = 0
    """Seed of the hash that draws the validation split."""
    max_train_rows: int | None = None
    """Use only the first so many training rows."""
    invalid_rows: Literal["error", "drop"] = "error"
    """Rows that the task cannot use, such as one without a label: stop at the first, or leave them out, counted."""
    max_length: int | None = None
    """Tokens in a model input at most, special ones among them. Default: the model's positions, at most 512."""
    overlength: Literal["truncate", "split", "drop", "error"] | None = None
    """What becomes of longer rows. Default: the task's own. Rows that are scored are never dropped, but truncated."""


@dataclass
class LoraConfig:
    """lora: train low-rank updates of a checkpoint instead of its weights; names of peft.LoraConfig."""

    r: int | None = None
    """Rank. Default: no LoRA, all weights are trained."""
    lora_alpha: int = 32
    """Updates are scaled by lora_alpha / r (with use_rslora by lora_alpha / sqrt(r))."""
    lora_dropout: float = 0.0
    """Dropout of the updates' inputs."""
    target_modules: str | list[str] = "all-linear"
    """Names of the layers that get an update; all-linear: all but the head."""
    use_dora: bool = False
    """Train direction and size of the weights apart (DoRA)."""
    use_rslora: bool = False
    """Scale by the root of the rank."""
    modules_to_save: list[str] | None = None
    """Layers trained and saved whole. A new head always is."""


@dataclass
class FinetuningConfig(TrainingConfig):
    """training: names, units and meanings of transformers.TrainingArguments, with defaults for fine-tuning."""

    num_train_epochs: float = 3.0
    """Passes over the training rows, if max_steps is not set."""
    per_device_train_batch_size: int = 32
    """Rows that one process contributes to a micro-batch."""
    per_device_eval_batch_size: int = 64
    """Rows that one process evaluates at once. Changes no figure."""
    warmup_steps: float = 0.06
    """Warm-up steps; below 1: share of all steps."""
    weight_decay: float = 0.01
    """Weight decay, not for biases and norms."""
    max_tokens_per_batch: int | None = 8192
    """Positions computed at once: longer micro-batches are cut into parts. Changes no figure but dropout's draws."""
    max_loss_spike: float | None = None
    """Stop when a step's loss exceeds this many times the median of the last 50 (not in TrainingArguments)."""
    load_best_model_at_end: bool = False
    """Keep the weights of the evaluation with the best headline figure. Its score is then the best of several."""
    early_stopping_patience: int | None = None
    """Stop after so many evaluations in a row that were no better. Needs load_best_model_at_end."""


@dataclass
class FinetuningEvaluationConfig:
    """evaluation: what is measured at the end, and the baselines beside it."""

    split: Literal["validation", "test"] = "validation"
    """Split that the final figures, baselines, predictions and report are of."""
    max_rows: int | None = None
    """Score only so many rows, evenly spread. Default: all."""
    baselines: bool = True
    """Train and score the baselines of the task on the same rows."""
    learning_curve: bool = True
    """Fit the baseline that learns on an eighth, a quarter and half of the training rows too: would more help?"""
    seeds: int = 1
    """Train so many times, with seeds training.seed, training.seed + 1, ...: mean, spread and interval."""
    folds: int | None = None
    """Cross-validate on the training rows in so many parts, beside the run on the split itself."""
    resamples: int = 1000
    """Bootstrap resamples of the intervals and comparisons."""
    samples: int = 10
    """Worst errors that are shown in the report."""


@dataclass
class ClassificationConfig:
    """task: what the labels are."""

    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = None
    """One label, several, or a number. Default: several where the labels are lists, else one."""
    threshold: float = 0.5
    """With several labels: those with a larger probability are predicted."""


@dataclass
class QuestionAnsweringDataConfig(LabelledDataConfig):
    """data: the labelled rows, their splits and their length (docs/finetuning.md)."""

    max_length: int | None = 384
    """Tokens in a window at most, question and special ones among them."""


@dataclass
class QuestionAnsweringConfig:
    """task: how contexts are read and answers found."""

    stride: int = 128
    """Tokens of a long context that two windows next to each other share."""
    max_answer_tokens: int = 30
    """Tokens of an answer at most."""
    n_best: int = 20
    """Spans that are kept of each question."""
    tokenization: Literal["words", "characters"] = "words"
    """What F1 counts: words, as the official script; characters, for Chinese."""


@dataclass
class TokenClassificationConfig:
    """task: what the tags are."""

    unit: Literal["entities", "words", "tokens"] | None = None
    """What is scored: entities (tags such as B-PER), words (tags B, M, E, S), or each tag. Default: by the tags."""


@dataclass
class _TextGenerationConfig:
    prompt: str | None = None
    """What the model is asked, {text} standing for the source. Default: see docs/finetuning.md."""
    max_target_length: int = 128
    """Tokens of a target at most, in training and in writing."""
    num_beams: int = 1
    """Beams of the search; 1: greedy."""
    length_penalty: float = 1.0
    """With beams: above 1 longer texts are preferred."""
    no_repeat_ngram_size: int | None = None
    """Runs of so many tokens are not written twice."""
    tokenization: Literal["words", "characters"] = "words"
    """What ROUGE counts: words, as the official script; characters, for Chinese."""


@dataclass
class SummarizationConfig(_TextGenerationConfig):
    """task: how summaries are asked for and written."""


@dataclass
class TranslationConfig(_TextGenerationConfig):
    """task: how translations are asked for and written."""

    bleu_tokenize: Literal["13a", "zh", "char", "intl", "none"] = "13a"
    """sacrebleu's tokenization: 13a for most languages, zh for Chinese."""


@dataclass
class ChatConfig:
    """task: how a conversation is written."""

    chat_template: str | None = None
    """chatml, or the path of a Jinja template. Default: the tokenizer's own."""
    max_new_tokens: int = 128
    """Tokens of an answer at most, when the model writes for its scores."""
    tokenization: Literal["words", "characters"] = "words"
    """What ROUGE counts: words, as the official script; characters, for Chinese."""


@dataclass
class MultipleChoiceConfig:
    """task: nothing to set."""


@dataclass
class SavedModelConfig:
    """model: a trained model; the first argument without a flag names it too."""

    name: str | None = None
    """Run folder, model folder, Hub id, or package://..."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""


@dataclass
class PredictionConfig:
    """predict: rows in, predictions out."""

    input: str = "-"
    """File of rows (json lines, csv, tsv, parquet, ...), or -: standard input, json lines or one text a line."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column -> role, such as '{review: text}'. A column is never guessed."""
    output: str | None = None
    """File that json lines are written to. Default: standard output."""
    batch_size: int = 32
    """Rows computed at once. Changes no figure."""
    max_tokens_per_batch: int | None = 8192
    """Positions computed at once."""
    threads: int | None = None
    """CPU threads. Default: all cores."""


@dataclass
class GenerationConfig:
    """generate: what a model is asked to write, and how; names of transformers.GenerationConfig."""

    prompt: str | None = None
    """What to go on from, or to ask. Default: a dialogue in the terminal."""
    input: str | None = None
    """File of prompts: json lines with prompt or messages, or one prompt a line; - for standard input."""
    output: str | None = None
    """File that json lines are written to, for prompts of a file. Default: standard output."""
    system: str | None = None
    """System message of a chat."""
    chat: bool | None = None
    """Put prompts into the tokenizer's chat template. Default: if it has one."""
    max_new_tokens: int = 256
    """Tokens that are written at most."""
    do_sample: bool = True
    """Draw tokens at random; false: always the likeliest."""
    temperature: float = 0.8
    """Divides the logits before drawing."""
    top_p: float = 0.95
    """Draw from the likeliest tokens that make up this probability."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens."""
    num_beams: int = 1
    """Beams of the search, without sampling."""
    repetition_penalty: float = 1.0
    """Above 1: tokens that were written already become less likely."""
    seed: int = 42
    """Of the random draws."""
    batch_size: int = 8
    """Prompts of a file written at once."""
    threads: int | None = None
    """CPU threads. Default: all cores."""
