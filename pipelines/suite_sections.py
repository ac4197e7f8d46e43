"""The typed sections of recipes/evaluate_glue.py. The docstring under a field is its `--help` text."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.sections import Schedule


@dataclass
class SuiteDataConfig:
    """data: where the rows of the tasks come from (docs/glue.md)."""

    dir: str | None = None
    """Folder with a folder of Parquet files for each task, such as glue-cola/train.parquet. Default: the Hub."""
    max_train_rows: int | None = None
    """Use only so many training rows of each task, evenly spread."""


@dataclass
class SuiteTrainingConfig:
    """training: as in the fine-tuning recipes; what is null is as the suite states for each task."""

    max_steps: int | None = None
    """Optimizer steps. Default: as many as num_train_epochs asks for."""
    num_train_epochs: float | None = None
    """Passes over the training rows."""
    per_device_train_batch_size: int | None = None
    """Rows that one process contributes to a micro-batch."""
    per_device_eval_batch_size: int = 64
    """Rows that one process evaluates at once. Changes no figure."""
    gradient_accumulation_steps: int | None = None
    """Micro-batches of one optimizer step."""
    learning_rate: float | None = None
    """Peak learning rate."""
    lr_scheduler_type: Schedule | None = None
    """Learning-rate schedule."""
    warmup_steps: float | None = None
    """Warm-up steps; below 1: share of all steps."""
    weight_decay: float | None = None
    """Weight decay, not for biases and norms."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "adafactor", "sgd", "muon"] | None = None
    """Optimizer."""
    eval_steps: float | None = None
    """Steps between evaluations on the validation split; below 1: share of all steps."""
    early_stopping_patience: int | None = None
    """Stop after so many evaluations in a row that were no better. The best weights are kept in any case."""
    bf16: bool | None = None
    """bfloat16 autocast over fp32 weights. Default: where the hardware computes it."""
    max_tokens_per_batch: int | None = 8192
    """Positions computed at once. Changes no figure but dropout's draws."""
    activation_checkpointing: bool | None = None
    """Recompute activations in the backward pass to save memory."""
    seed: int = 42
    """First seed, of new heads, order, dropout and few-shot examples."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Any other field of transformers.TrainingArguments."""


@dataclass
class SuiteEvaluationConfig:
    """evaluation: which tasks are scored, and how."""

    suite: str = "glue"
    """glue, superglue, or the path of a YAML file of tasks (docs/glue.md)."""
    tasks: list[str] | None = None
    """Score these tasks of the suite only. The average is then marked partial."""
    method: Literal["finetune", "saved", "likelihood"] = "finetune"
    """finetune for each task; score a saved fine-tuned model as it is; or a decoder, by the likelihood of labels."""
    split: Literal["validation", "test"] = "validation"
    """Split that is scored. Test splits with hidden labels cannot be."""
    seeds: int = 3
    """Runs of each task, with seeds training.seed, training.seed + 1, ...: median, best and spread."""
    workers: int = 1
    """Processes that share tasks and seeds, each with its share of the CPU threads, or a GPU. For method finetune."""
    warm_start: str | None = None
    """Start RTE, MRPC, STS-B and CB from a model tuned on MNLI: its name; for GLUE also mnli, that of this very run."""
    num_fewshot: int = 0
    """With method likelihood: solved training rows before each question."""
    save_models: bool = False
    """Keep the model of each task's best seed."""
    submission: bool = False
    """Predict the test splits too, and write them in the benchmark's submission format (submission.zip)."""
    corpus: str | None = None
    """Pretraining run folder whose training text is searched for the scored rows. Default: model.name, if it is one."""
    max_rows: int | None = None
    """Score only so many rows of each task, evenly spread. Default: all."""
    baselines: bool = True
    """Score majority class and TF-IDF on the same rows."""
    resamples: int = 1000
    """Bootstrap resamples of the intervals and comparisons."""
    harness_tasks: list[str] = field(default_factory=list)
    """With method likelihood: tasks of lm-eval (extra lm-eval) that are scored too, into the same table."""
    harness_path: str | None = None
    """Folder of task files of your own for lm-eval."""
