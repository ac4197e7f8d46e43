"""What each recipe measures on its validation split, which way is better, and what would change the measure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

from pipelines.errors import ConfigError, did_you_mean
from pipelines.reporting.scores import LOWER_IS_BETTER

Direction = Literal["minimize", "maximize"]
_ALL = ("*",)
_OF_TOKENIZERS = ("tokenizer", "model.name", "model.revision")  # a checkpoint comes with its own


@dataclass(frozen=True)
class Measures:
    """The figures of a recipe, without the `eval_` before them in its metrics.json.

    Attributes:
        headlines: the first that a run has is its headline.
        others: also patterns.
        at_end: those that no evaluation on the way has.
        on_the_way: whether the recipe evaluates on the way at all.
        per_token: those that are of tokens, or of rows cut by tokens: other tokenizers are not comparable.
        fixed: key or section -> the figures (or patterns of them) that are of other rows, targets or units with
            another value of it.
    """

    headlines: tuple[str, ...]
    others: tuple[str, ...] = ()
    at_end: tuple[str, ...] = ()
    on_the_way: bool = True
    per_token: tuple[str, ...] = ()
    fixed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All figures."""
        return tuple(dict.fromkeys((*self.headlines, *self.others)))

    def yardstick(self, metrics: tuple[str, ...], base: Any) -> dict[str, str]:
        """Keys and sections that may not differ between trials -> why.

        Args:
            metrics: the figures that may decide.
            base: the recipe's config, which all trials share.
        """
        fixed = {}
        for key, figures in self.fixed.items():
            if (metric := _first(metrics, figures)) is not None:
                fixed[key] = f"{metric} would not be of the same rows and units"
        has_tokenizer = getattr(getattr(base, "tokenizer", None), "name", None) is not None  # whatever the checkpoint
        cut = ("tokenizer",) if has_tokenizer else _OF_TOKENIZERS
        if getattr(base.evaluation, "max_blocks", None) is not None:
            why = "the first evaluation.max_blocks blocks would be other text. Set that to null in sweep.base"
            fixed |= dict.fromkeys(("data.block_size", *cut), why)
        if (metric := _first(metrics, self.per_token)) is not None:
            other = next((one for one in self.headlines if one not in self.per_token), None)
            advice = "" if other is None else f". Take {other} for sweep.metric"
            fixed |= dict.fromkeys(cut, f"{metric} is per token, and other tokens are not comparable{advice}")
        return fixed


def _first(metrics: tuple[str, ...], patterns: tuple[str, ...]) -> str | None:
    return next((metric for metric in metrics if any(fnmatch(metric, one) for one in patterns)), None)


_CLASSIFIED = ("f1", "f1_macro", "f1_weighted", "matthews_correlation", "expected_calibration_error", "pearsonr", "mse")
_ROUGE = ("rougeL", "rouge1", "rouge2", "rougeLsum")
_TOKENS = ("loss", "perplexity", "accuracy", "bits_per_token")
_MASKED = (*_TOKENS, "pseudo_perplexity")
_HIDDEN = ("hidden_accuracy", "hidden_loss")
_RETRIEVED = ("retrieval_accuracy", "retrieval_mrr", "loss")
_COVERED = ("*_spearman", "*_accuracy")  # of words that have a vector
MEASURES = {
    "pretrain_clm": Measures(("bits_per_byte",), ("loss", "perplexity"), per_token=("loss", "perplexity")),
    "pretrain_mlm": Measures(
        ("accuracy",), _MASKED, at_end=("pseudo_perplexity",), per_token=_MASKED, fixed={"data.block_size": _ALL}
    ),
    "pretrain_seq2seq": Measures(
        ("hidden_accuracy",),
        (*_HIDDEN, *_TOKENS),
        per_token=(*_HIDDEN, *_TOKENS),
        fixed={"denoising": _ALL, "data.block_size": _ALL},
    ),
    "pretrain_contrastive": Measures(
        ("spearman", "retrieval_accuracy"),
        ("pearson", "retrieval_mrr", "loss"),
        per_token=_RETRIEVED,
        fixed={"data.block_size": _RETRIEVED, "data.min_tokens": _RETRIEVED, "contrastive.temperature": ("loss",)},
    ),
    "finetune_classification": Measures(
        ("f1_micro", "accuracy", "spearmanr"), (*_CLASSIFIED, "loss"), fixed={"task.problem_type": _ALL}
    ),
    "finetune_multiple_choice": Measures(("accuracy",), ("mean_reciprocal_rank", "loss")),
    "finetune_ner": Measures(
        ("f1", "accuracy"), ("precision", "recall", "f1_macro", "loss"), fixed={"task.unit": _ALL}
    ),
    "finetune_qa": Measures(
        ("f1",),
        ("exact_match", "f1_has_answer", "f1_no_answer", "loss"),
        per_token=("loss",),
        fixed={"task.tokenization": ("f1*",), "task.stride": ("loss",), "data.max_length": ("loss",)},
    ),
    "finetune_summarization": Measures(
        ("rougeL",),
        (*_ROUGE, "loss"),
        at_end=_ROUGE,
        per_token=("loss",),
        fixed={"task.tokenization": _ROUGE, "task.max_target_length": ("loss",), "data.overlength": ("loss",)},
    ),
    "finetune_translation": Measures(
        ("chrf",),
        ("bleu", "loss"),
        at_end=("chrf", "bleu"),
        per_token=("loss",),
        fixed={"task.bleu_tokenize": ("bleu",), "task.max_target_length": ("loss",), "data.overlength": ("loss",)},
    ),
    "finetune_chat": Measures(
        ("chrf",),
        (*_ROUGE, "loss"),
        at_end=("chrf", *_ROUGE),
        per_token=("loss",),
        fixed={
            "task.tokenization": _ROUGE,
            **dict.fromkeys(("task.chat_template", "data.max_length", "data.overlength"), ("loss",)),
        },
    ),
    "train_embeddings": Measures(
        ("wordsim353_spearman",),
        ("*_spearman", "*_spearman_all", "*_accuracy", "*_accuracy_all"),
        on_the_way=False,
        fixed={f"embeddings.{name}": _COVERED for name in ("split", "lowercase", "min_count", "max_vocabulary")},
    ),
    "train_tokenizer": Measures(
        ("bytes_per_token",),
        ("characters_per_token", "tokens_per_word", "unknown_rate", "unknown_character_rate", "round_trip_rate"),
        on_the_way=False,
    ),
}


def measures_of(recipe: str | None) -> Measures:
    """What a recipe measures. Raises ConfigError if it is no training recipe."""
    if recipe is None:
        raise ConfigError(f"sweep.recipe is not set: name the recipe to search for. Recipes: {', '.join(MEASURES)}.")
    if recipe not in MEASURES:
        hint = did_you_mean(recipe, MEASURES)
        raise ConfigError(
            f"sweep.recipe is {recipe!r}, which is no training recipe.{hint} Recipes: {', '.join(MEASURES)}."
        )
    return MEASURES[recipe]


def chosen_metrics(recipe: str | None, metric: str | None, pruner: str) -> tuple[str, ...]:
    """The figures of which the first that a run has decides: the one that is named, or the headlines.

    Raises:
        ConfigError: the recipe has no such figure; a pruner needs one that is measured on the way.
    """
    measures = measures_of(recipe)
    if metric is not None and not any(fnmatch(metric, name) for name in measures.names):
        near = did_you_mean(metric.removeprefix("eval_"), measures.names)
        raise ConfigError(
            f"sweep.metric is {metric!r}, which {recipe} does not measure.{near} Known: {', '.join(measures.names)}."
        )
    names = measures.headlines if metric is None else (metric,)
    if pruner != "none" and not measures.on_the_way:
        raise ConfigError(f"sweep.pruner is {pruner}, but {recipe} evaluates at its end only. Set it to none.")
    if pruner != "none" and set(names) & set(measures.at_end):
        rest = [name for name in measures.names if name not in measures.at_end]
        raise ConfigError(
            f"sweep.pruner is {pruner}, but {recipe} measures {names[0]} at its end only. Set --sweep.metric to "
            f"what it measures on the way ({', '.join(rest)}), or the pruner to none."
        )
    return names


def direction_of(metric: str) -> Direction:
    """Which way a figure is better."""
    return "minimize" if metric in LOWER_IS_BETTER else "maximize"
