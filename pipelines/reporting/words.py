"""Figures and names as a reader sees them."""

import math
import re
from collections.abc import Iterable
from typing import Any

LABELS = {
    "accuracy": "Accuracy",
    "bleu": "BLEU",
    "block_size": "Positions in a block",
    "bos_tokens": "BOS",
    "chrf": "chrF",
    "cpu_threads": "CPU threads",
    "document_ends_without_target": "Document ends",
    "eos_tokens": "EOS",
    "eval_steps": "Steps between evaluations",
    "f1": "F1",
    "f1_has_answer": "F1 where there is an answer",
    "entity_exact_match": "Exact match of the entity",
    "entity_f1": "F1 of the entity",
    "f1_a": "F1 over all answers",
    "f1_macro": "F1, mean of the labels",
    "f1_micro": "F1 over all labels",
    "f1_no_answer": "F1 where there is none",
    "f1_weighted": "F1, weighted by label",
    "flops_per_token": "Operations per token",
    "git_changes": "Uncommitted changes",
    "gpus": "GPUs",
    "ibm_model_1": "IBM Model 1",
    "linear": "linear tagger",
    "majority": "majority class",
    "mse": "Mean squared error",
    "gender_parity": "Gender parity",
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson's r",
    "pearsonr": "Pearson's r",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "spearmanr": "Spearman's rho",
    "linear_span": "linear span model",
    "untuned": "the model before fine-tuning",
    "grad_norm": "Gradient norm",
    "logging_steps": "Steps between log lines",
    "matmul_flops_per_second": "Matrix products",
    "memory_estimate_bytes": "Estimate",
    "per_device_train_batch_size": "Rows per micro-batch",
    "retrieval_mrr": "Retrieval MRR",
    "rows_per_step": "Rows (blocks) in a step",
    "save_steps": "Steps between checkpoints",
    "start": "Before training",
    "sts_alignment": "STS alignment",
    "sts_pairs": "STS pairs",
    "sts_texts_truncated": "STS texts truncated",
    "sts_uniformity": "STS uniformity",
    "tfidf": "TF-IDF",
    "time_estimate_seconds": "Time estimate",
    "tokens_per_step": "Positions in a step",
    "total_tokens": "Positions, all steps",
    "ppmi_svd": "PPMI and SVD",
    "vocab_size": "Vocabulary",
    "wordsim353_spearman": "WordSim-353 Spearman",
}
PATTERNS = {
    r"kneser_ney_(\d+)gram": "Kneser-Ney {}-gram",
    r"lead_(\d+)": "Lead-{}",
    r"textrank_(\d+)": "TextRank-{}",
}
NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: Any, places: int | None = None) -> str:
    """A figure for a reader: thousands separated, `places` decimals or four significant digits."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ", ".join(map(number, value)) or "none"
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if isinstance(value, int) or (places is None and value.is_integer()):
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.1f}"
    else:
        text = f"{value:.4g}" if places is None or 0 < abs(value) < 10**-places else f"{value:.{places}f}"
    return text.replace("-", "−", 1) if value < 0 else text


def quantity(value: Any, name: str) -> str:
    """A figure with the unit that its name tells: bytes, seconds, floating-point operations."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return number(value)
    if name.endswith("flops_per_second"):
        text = f"{value / 1e12:,.3f} TFLOP/s"
    elif name.endswith("seconds"):
        minutes, seconds = divmod(int(value), 60)
        text = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
        text = text if minutes else f"{value:.1f} s"
    elif name.endswith("_bytes") or "flops" in name:
        power = min(int(math.log10(max(value, 1)) // 3), 5)
        unit = "B" if name.endswith("_bytes") else "FLOP"
        text = f"{value / 1000**power:,.1f} {' kMGTP'[power].strip()}{unit}"
    else:
        return number(value)
    return text.replace(" ", NO_BREAK)


def probability(value: float | None) -> str:
    """A probability with three decimals."""
    return "–" if value is None else "< 0.001" if 0 < value < 0.001 else f"{value:.3f}"


def visible(token: str) -> str:
    """A token with its blanks to be seen."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")


def label_of(name: str) -> str:
    """The words of an identifier."""
    words = name.replace("_", " ")
    for pattern, form in PATTERNS.items():
        if found := re.fullmatch(pattern, name):
            words = form.format(found[1])
    return LABELS.get(name, words[:1].upper() + words[1:])


def rows_of(mapping: dict[str, Any], names: Iterable[str]) -> list[tuple[str, str]]:
    """(label, figure) of those entries of a map that are there; an inner map gives a row for each of its own."""
    rows = []
    for name in (name for name in names if name in mapping):
        inner = mapping[name] if isinstance(mapping[name], dict) else {None: mapping[name]}
        for key, value in inner.items():
            rows.append((label_of(name) + (f": {label_of(key).lower()}" if key else ""), quantity(value, name)))
    return rows
