"""Rules that no type can state: alternatives, ranges, and which fields of TrainingArguments may be passed on."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.argument_types import annotations, expected
from pipelines.checking import refuse
from pipelines.errors import ConfigError, did_you_mean

# Stating one of these keys unsets the others where an earlier layer stated them, so that
# `--data.files.train my.txt` replaces the data card of default.yaml. Two in one layer are an error.
ALTERNATIVES = (
    ("data.card", "data.name", "data.files", "data.sources"),
    ("model.preset", "model.name", "model.config"),
    ("tokenizer.name", "tokenizer.vocab_size"),
    ("model.name", "tokenizer.vocab_size"),  # a checkpoint brings its own tokenizer
    ("old_domain.card", "old_domain.name", "old_domain.files"),
)
# Stating the first key unsets the second where an earlier layer stated it: it was meant for the earlier value.
DEPENDENTS = (
    ("training.lr_scheduler_type", "training.lr_scheduler_kwargs"),
    *((f"model.{source}", "model.decoder_name") for source in ("preset", "name", "config")),
    *((f"data.{source}", "data.config_name") for source in ("card", "name", "files")),
    *((f"data.{source}", "data.max_train_rows") for source in ("card", "name", "files")),
    *(
        ("sweep.recipe", f"sweep.{key}")
        for key in ("config", "base", "space", "metric", "direction", "pruner", "trials")
    ),
    *(("evaluation.suite", key) for key in ("data.max_train_rows", "evaluation.seeds", "evaluation.max_rows")),
)


def drop_alternatives(merged: dict[str, Any], stated: Mapping[str, Any]) -> None:
    """Unsets, in earlier layers (nested), the alternatives to what a later layer (dotted keys) states."""
    for group in ALTERNATIVES:
        chosen = {member for member in group if _states(stated, member)}
        for member in set(group) - chosen if chosen else ():
            _unset(merged, member)
    for key, dependent in DEPENDENTS:
        if _states(stated, key):
            _unset(merged, dependent)


def _unset(merged: dict[str, Any], key: str) -> None:
    section, name = key.split(".")
    merged.get(section, {}).pop(name, None)


def _states(values: Mapping[str, Any], member: str) -> bool:
    return any(value is not None and (key == member or key.startswith(member + ".")) for key, value in values.items())


def refuse_two(values: dict[str, Any], source: str) -> None:
    """Raises ConfigError if `values` (dotted keys) states two members of a group of alternatives.

    In a check, the first that is stated stays.
    """
    for group in ALTERNATIVES:
        chosen = [member for member in group if _states(values, member)]
        if len(chosen) > 1:
            told = f"{capitalized(source)} states {' and '.join(chosen)}: they exclude each other."
            refuse(ConfigError(f"{told} Keep one, set the others to null."))
            stating = [key for key in values if any(_states({key: values[key]}, member) for member in chosen)]
            first = next(member for member in chosen if _states({stating[0]: values[stating[0]]}, member))
            for key in stating:
                if not _states({key: values[key]}, first):
                    del values[key]


_EVALUATION = "evaluation is Plumbline's own and keeps no logits"
_PUBLISHING = "a run is pushed once, when it is done"
# Fields of TrainingArguments that Plumbline sets itself or makes meaningless, and why or where its own setting is.
OWNED_FIELDS = {
    "output_dir": "it is the run folder: --run.dir",
    "use_cpu": "the recipe sees whether there is a GPU",
    "remove_unused_columns": "batches are made by Plumbline's own collators",
    "label_smoothing_factor": "the loss is the exact negative log-likelihood",
    "use_liger_kernel": "the loss is Plumbline's own",
    "average_tokens_across_devices": "the loss always is",
    "load_best_model_at_end": "pretraining evaluates and saves the final weights",
    "metric_for_best_model": "it is the headline figure of the task",
    "greater_is_better": "the headline figure of every task is",
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "a recipe always trains, and evaluates what it trained"),
    "resume_from_checkpoint": "the same command resumes by itself",
    "ignore_data_skip": "it would train twice on the same blocks",
    "dataloader_drop_last": "no block is dropped",
    "train_sampling_strategy": "the order is drawn from training.seed",
    "length_column_name": "the order is drawn from training.seed",
    "data_seed": "the order is drawn from training.seed",
    "auto_find_batch_size": "it would change the batch in the middle of a run",
    "save_strategy": "checkpoints are set by training.save_steps",
    "save_only_model": "the run could not be resumed",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "disable_tqdm": "the progress bar shows on a terminal and nowhere else",
    "full_determinism": "resume is bitwise exact without it",
    "gradient_checkpointing": "it is --training.activation_checkpointing",
    "fp16": "use training.bf16",
    "bf16_full_eval": "evaluation has the precision of training",
    "fp16_full_eval": "evaluation has the precision of training",
    "prediction_loss_only": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "hub_strategy": f"{_PUBLISHING}; its checkpoints too with --publish.checkpoints true",
    "hub_always_push": _PUBLISHING,
    "hub_private_repo": "it is --publish.private",
    "hub_revision": "it is --publish.revision",
    "hub_token": "no token belongs into a config; log in with `hf auth login` or set HF_TOKEN",
    "accelerator_config": "batches are split by Plumbline's own order",
    "enable_jit_checkpoint": "SIGTERM always writes a checkpoint",
    "ddp_timeout": "processes wait two hours for each other",
    "parallelism_config": "only data parallelism is supported",
    "deepspeed": "only data parallelism is supported",
    "fsdp": "only data parallelism is supported",
    "fsdp_config": "only data parallelism is supported",
}


# Keys whose value must lie strictly between two numbers.
OPEN_RANGES: dict[str, tuple[float, float]] = {
    "masking.mlm_probability": (0, 1),
    "evaluation.mlm_probability": (0, 1),
    "denoising.noise_density": (0, 1),
    "data.validation_share": (0, 1),
    "task.threshold": (0, 1),
}
# Keys that need another one to be true.
NEEDS = (
    ("training.early_stopping_patience", "training.load_best_model_at_end"),
    ("training.hub_model_id", "training.push_to_hub"),
    ("run.country_iso_code", "run.measure_energy"),
)
_BELOW_ONE = 0.9999999
_MOST_DOCUMENTS = 10**12  # what Arrow can count has an end
# The rows of a run, which is their product, are the length of a sequence, at most 2**63 - 1.
_MOST_STEPS, _MOST_ROWS = 100_000_000, 100_000
_MOST_THREADS = 1024  # torch ends the process where it cannot start as many
# Smallest and largest value of the keys that have one; None: no limit. Checked before anything is loaded.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "contrastive.temperature": (1e-3, None),
    "contrastive.dropout": (0, _BELOW_ONE),
    "data.min_tokens": (1, None),
    "evaluation.retrieval_documents": (2, 20_000),
    "run.threads": (1, _MOST_THREADS),
    "run.stop_at_step": (1, None),
    "verify.checkpoint": (0, None),
    "verify.steps": (1, None),
    "data.block_size": (2, None),
    "evaluation.max_documents": (1, None),
    "tokenizer.vocab_size": (None, 100_000_000),
    "tokenizer.new_tokens": (1, None),
    "tokenizer.sentinels": (0, None),
    "data.max_train_documents": (1, _MOST_DOCUMENTS),
    "training.max_steps": (1, _MOST_STEPS),
    "training.per_device_train_batch_size": (1, _MOST_ROWS),
    "training.per_device_eval_batch_size": (1, _MOST_ROWS),
    "training.gradient_accumulation_steps": (1, _MOST_ROWS),
    "training.learning_rate": (0, None),
    "training.warmup_steps": (0, None),
    "training.weight_decay": (0, None),
    "training.adam_beta1": (0, _BELOW_ONE),
    "training.adam_beta2": (0, _BELOW_ONE),
    "training.adam_epsilon": (0, None),
    "training.max_grad_norm": (0, None),
    "training.max_loss_spike": (0, None),
    "training.seed": (0, 2**32 - 1),
    "training.save_total_limit": (1, None),
    "training.dataloader_num_workers": (0, _MOST_THREADS),
    "evaluation.max_blocks": (1, None),
    "evaluation.ngram_order": (1, 32),
    "evaluation.samples": (0, None),
    "evaluation.pseudo_perplexity_tokens": (1, None),
    "masking.mask_replace_prob": (0, 1),
    "masking.random_replace_prob": (0, 1),
    "evaluation.sample_new_tokens": (1, None),
    "evaluation.temperature": (1e-3, None),
    "denoising.mean_noise_span_length": (1, None),
    "data.max_length": (2, None),
    "data.max_train_rows": (1, _MOST_DOCUMENTS),
    "evaluation.max_rows": (1, None),
    "evaluation.seeds": (1, None),
    "evaluation.workers": (1, None),
    "evaluation.num_fewshot": (0, None),
    "evaluation.folds": (2, None),
    "evaluation.resamples": (10, None),
    "lora.r": (1, None),
    "lora.lora_alpha": (1, None),
    "lora.lora_dropout": (0, _BELOW_ONE),
    "training.max_tokens_per_batch": (1, None),
    "training.early_stopping_patience": (1, None),
    "task.stride": (0, None),
    "task.max_answer_tokens": (1, None),
    "task.n_best": (1, None),
    "task.max_target_length": (1, None),
    "task.num_beams": (1, None),
    "task.no_repeat_ngram_size": (1, None),
    "task.max_new_tokens": (1, None),
    "predict.batch_size": (1, None),
    "predict.max_tokens_per_batch": (1, None),
    "predict.threads": (1, _MOST_THREADS),
    "generate.max_new_tokens": (1, None),
    "generate.temperature": (1e-3, None),
    "generate.top_p": (1e-3, 1),
    "generate.top_k": (1, None),
    "generate.num_beams": (1, None),
    "generate.repetition_penalty": (1e-3, None),
    "generate.batch_size": (1, None),
    "generate.threads": (1, _MOST_THREADS),
    "generate.seed": (0, 2**32 - 1),
    "preflight.sample_megabytes": (1e-3, None),
    "preflight.processes": (1, None),
    "preflight.price_per_device_hour": (0, None),
    "sweep.trials": (1, 1_000_000),
    "sweep.workers": (1, _MOST_THREADS),
    "sweep.seed": (0, 2**32 - 1),
    "sweep.timeout_minutes": (1e-3, None),
    "embeddings.vector_size": (1, None),
    "embeddings.window": (1, None),
    "embeddings.min_count": (1, None),
    "embeddings.max_vocabulary": (2, None),
    "embeddings.epochs": (1, None),
    "embeddings.learning_rate": (1e-9, None),
    "embeddings.negative_samples": (1, None),
    "embeddings.subsample": (1e-9, 1),
    "embeddings.seed": (0, 2**32 - 1),
    "embeddings.workers": (1, None),
    "embeddings.fasttext.ngram_min": (1, None),
    "embeddings.fasttext.ngram_max": (1, None),
    "embeddings.fasttext.buckets": (1, None),
    "embeddings.glove.x_max": (1e-9, None),
    "embeddings.glove.alpha": (0, None),
    "embeddings.glove.batch_size": (1, None),
}


def check_ranges(config: Any) -> None:
    """Raises ConfigError for a value outside its range in RANGES or OPEN_RANGES, or a list with such a value."""
    for key, value in flatten(dataclasses.asdict(config)):
        listed = isinstance(value, list)
        numbers = [one for one in (value if listed else [value]) if isinstance(one, int | float)]
        wrong = [one for one in numbers if not _is_in_range(key, one)]
        if wrong or (value == [] and key in RANGES):
            refuse(ConfigError(f"{key} must be {_range(key)}; found {wrong[0] if wrong else value}."))
            _set_default(config, key)


def _is_in_range(key: str, value: float) -> bool:
    low, high = RANGES.get(key, (None, None))
    below, above = OPEN_RANGES.get(key, (float("-inf"), float("inf")))
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        return False
    return key not in OPEN_RANGES or below < value < above


def _range(key: str) -> str:
    """The range of a key in words."""
    if key in OPEN_RANGES:
        below, above = OPEN_RANGES[key]
        return f"above {below:g} and below {above:g}"
    low, high = RANGES.get(key, (None, None))
    most = "below 1" if high == _BELOW_ONE else f"at most {high:,}" if high is not None else None
    limits = [told for told in (None if low is None else f"at least {low:,}", most) if told is not None]
    return " and ".join(limits) or "a number"


def _set_default(config: Any, key: str) -> None:
    *sections, name = key.split(".")
    for section in sections:
        config = getattr(config, section)
    setattr(config, name, getattr(type(config)(), name))


def check_needs(config: Any) -> None:
    """Raises ConfigError for a key that has no effect without another one."""
    values = dict(flatten(dataclasses.asdict(config)))
    for key, needed in NEEDS:
        if values.get(key) is not None and not values.get(needed, True):
            refuse(ConfigError(f"{key} is {values[key]}, which has no effect without --{needed} true."))


# Keys that a stream has no use for, and why.
NOT_STREAMED = {
    "data.decontaminate": "the whole corpus would have to be searched first",
    "data.max_train_documents": "how much is read follows from training.max_steps",
    "masking.whole_word_mask": "its targets could only be counted by reading the whole run again",
    "training.dataloader_num_workers": "each process tokenizes ahead in a thread, and workers would do it again",
}


def check_streaming(config: Any) -> None:
    """Raises ConfigError for what does not go with data.streaming, or needs it."""
    data: Any = getattr(config, "data", None)
    if not hasattr(data, "streaming"):
        return
    if not data.streaming:
        if data.sources:
            refuse(ConfigError("data.sources is a mixture, which has no effect without --data.streaming true."))
        return
    values = dict(flatten(dataclasses.asdict(config)))
    for key, why in NOT_STREAMED.items():
        if values.get(key):
            advice = "clean the corpus with recipes/prepare_corpus.py first, or " if key == "data.decontaminate" else ""
            told = f"{key} is {values[key]}, which does not go with data.streaming: {why}."
            refuse(ConfigError(f"{told} {advice.capitalize()}{'leave' if advice else 'Leave'} it out."))
            _set_default(config, key)
    if data.split_method != "hash":
        told = f"data.split_method is {data.split_method}, but of a stream whole units are held out, drawn by seed."
        refuse(ConfigError(f"{told} Leave it out."))
        data.split_method = "hash"
    if config.training.max_steps is None:
        refuse(
            ConfigError(
                "data.streaming needs training.max_steps: how many blocks an epoch has is not known before all of the "
                "corpus was read. Set --training.max_steps."
            )
        )
        config.training.max_steps = 1_000
    for name, source in (data.sources or {}).items():
        if not source.weight > 0 or source.weight == float("inf"):
            refuse(ConfigError(f"data.sources.{name}.weight must be above 0; found {source.weight:g}."))
            source.weight = 1.0


def check_training_extra(config: Any) -> None:
    """Raises ConfigError for a key of training.extra that is no field or has its own key, no effect or a wrong type."""
    extra = config.training.extra if hasattr(config, "training") else {}
    curated = {field.name for field in dataclasses.fields(config.training)} if extra else set()
    for name, value in list(extra.items()):
        told = None
        if name in curated:
            told = f"training.extra.{name} has a key of its own: --training.{name}"
        elif name in OWNED_FIELDS:
            told = f"training.extra.{name} cannot be set: {OWNED_FIELDS[name]}."
        elif name not in training_argument_names():
            hint = did_you_mean(name, training_argument_names())
            told = f"training.extra.{name} is no field of transformers.TrainingArguments.{hint}"
        elif (wanted := expected(name, value)) is not None:
            told = f"training.extra.{name}: expected {wanted}, got {value!r}."
        if told is not None:
            refuse(ConfigError(told))
            del extra[name]


def training_argument_names() -> set[str]:
    """Field names of the installed transformers.TrainingArguments."""
    return set(annotations())


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of nested maps, down to the leaves."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, dotted + ".")
        else:
            yield dotted, value


def capitalized(source: str) -> str:
    """`the command line` -> `The command line`; paths stay as they are."""
    return source[0].upper() + source[1:] if source.startswith("the ") else source
