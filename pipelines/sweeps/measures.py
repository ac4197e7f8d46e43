"""What each recipe measures on its validation split, and which way is better."""

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from pipelines.errors import ConfigError, did_you_mean

Direction = Literal["minimize", "maximize"]
LOWER_IS_BETTER = (
    *("loss", "perplexity", "bits_per_byte", "bits_per_token", "hidden_loss", "pseudo_perplexity", "mse"),
    *("expected_calibration_error", "tokens_per_word", "unknown_rate", "unknown_character_rate"),
)
PER_TOKEN = ("loss", "perplexity", "bits_per_token", "hidden_loss", "pseudo_perplexity")


@dataclass(frozen=True)
class Measures:
    """The figures of a recipe, without the `eval_` before them in its metrics.json.

    Attributes:
        headlines: the first that a run has is its headline.
        others: also patterns.
        at_end: those that no evaluation on the way has.
        on_the_way: whether the recipe evaluates on the way at all.
    """

    headlines: tuple[str, ...]
    others: tuple[str, ...] = ()
    at_end: tuple[str, ...] = ()
    on_the_way: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All figures."""
        return tuple(dict.fromkeys((*self.headlines, *self.others)))


_CLASSIFIED = ("f1", "f1_macro", "f1_weighted", "matthews_correlation", "expected_calibration_error", "pearsonr", "mse")
_ROUGE = ("rougeL", "rouge1", "rouge2", "rougeLsum")
_TOKENS = ("loss", "perplexity", "accuracy", "bits_per_token")
MEASURES = {
    "pretrain_clm": Measures(("bits_per_byte",), ("loss", "perplexity")),
    "pretrain_mlm": Measures(("accuracy",), (*_TOKENS, "pseudo_perplexity"), at_end=("pseudo_perplexity",)),
    "pretrain_seq2seq": Measures(("hidden_accuracy",), ("hidden_loss", *_TOKENS)),
    "pretrain_contrastive": Measures(("spearman", "retrieval_accuracy"), ("pearson", "retrieval_mrr", "loss")),
    "finetune_classification": Measures(("f1_micro", "accuracy", "spearmanr"), (*_CLASSIFIED, "loss")),
    "finetune_multiple_choice": Measures(("accuracy",), ("mean_reciprocal_rank", "loss")),
    "finetune_ner": Measures(("f1", "accuracy"), ("precision", "recall", "f1_macro", "loss")),
    "finetune_qa": Measures(("f1",), ("exact_match", "f1_has_answer", "f1_no_answer", "loss")),
    "finetune_summarization": Measures(("rougeL",), (*_ROUGE, "loss"), at_end=_ROUGE),
    "finetune_translation": Measures(("chrf",), ("bleu", "loss"), at_end=("chrf", "bleu")),
    "finetune_chat": Measures(("chrf",), (*_ROUGE, "loss"), at_end=("chrf", *_ROUGE)),
    "train_embeddings": Measures(
        ("wordsim353_spearman",), ("*_spearman", "*_spearman_all", "*_accuracy", "*_accuracy_all"), on_the_way=False
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
