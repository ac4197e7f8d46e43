"""Evaluation of causal language models: exact loss, the n-gram baseline on the same positions, samples to look at."""

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import BlockCollator
from pipelines.evaluation.token_scores import BITS_PER_NAT, likeliest, sum_over_processes
from pipelines.models.ngram import KneserNeyModel
from pipelines.models.sharded import share_of_process

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.data.packing import PackedDocuments, TrainingBlocks
    from pipelines.sections import LanguageModelEvaluationConfig
    from pipelines.training.objectives import CausalLanguageModeling


def evaluate_language_model(
    model: "PreTrainedModel",
    documents: "PackedDocuments",
    objective: "CausalLanguageModeling",
    collator: BlockCollator,
    batch_size: int,
    max_blocks: int | None = None,
) -> dict[str, float]:
    """Loss of a model over the blocks of a split, the same for every batch size and process count.

    The negative log-likelihood is summed in fp64 over every target of every block and divided once. Each process takes
    every n-th block.

    Returns:
        eval_loss: nats per token. eval_perplexity: its exponential. eval_bits_per_byte: bits needed per UTF-8 byte of
        the text that the targets stand for, ends of documents included; unlike loss and perplexity it can be compared
        between tokenizers. eval_tokens, eval_bytes: the divisors. eval_seconds.
    """
    import torch

    blocks = len(documents) if max_blocks is None else min(max_blocks, len(documents))
    mine = list(share_of_process(range(blocks), model))
    started, was_training = time.perf_counter(), model.training
    totals = torch.zeros(2, dtype=torch.float64)
    model.eval()
    with torch.no_grad():
        for first in range(0, len(mine), batch_size):
            some = mine[first : first + batch_size]
            batch = collator([documents.block(index) if counts else documents.filler() for index, counts in some])
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            totals[0] += objective.losses(model, batch).cpu().double().sum()
            totals[1] += objective.count(batch).cpu()
    model.train(was_training)
    nats, tokens = sum_over_processes(totals).tolist()
    metrics = language_model_metrics(nats, int(tokens), documents.target_bytes(blocks))
    return {f"eval_{name}": value for name, value in metrics.items()} | {"eval_seconds": time.perf_counter() - started}


def language_model_metrics(nats: float, tokens: int, target_bytes: int) -> dict[str, float]:
    """loss (nats per token), perplexity, bits_per_byte, tokens and bytes from a summed negative log-likelihood."""
    loss = nats / tokens if tokens else math.nan
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": nats * BITS_PER_NAT / target_bytes if target_bytes else math.nan,
        "tokens": tokens,
        "bytes": target_bytes,
    }


def ngram_baseline(
    run: "TrainingBlocks", validation: "PackedDocuments", vocab_size: int, config: "LanguageModelEvaluationConfig"
) -> tuple[dict[str, float], KneserNeyModel | None]:
    """Kneser-Ney n-gram model on exactly the tokens a run consumed, scored on exactly the positions it is scored on.

    Args:
        run: the rows of the whole run; a block seen in several epochs counts once.
        validation: the split to score.
        vocab_size: entries of the model's vocabulary.
        config: order (None: no baseline) and max_blocks.

    Returns:
        (metrics, model): metrics named baseline_kneser_ney_<order>gram_<metric>, and the fitted model.
    """
    order = config.ngram_order
    if order is None:
        return {}, None
    started = time.perf_counter()
    model = KneserNeyModel.fit(*run.consumed_segments(), vocab_size=vocab_size, order=order)
    blocks = len(validation) if config.max_blocks is None else min(config.max_blocks, len(validation))
    log_probabilities = model.log_probabilities(*validation.segments(np.arange(blocks)))
    scored = log_probabilities[~np.isnan(log_probabilities)]
    metrics = language_model_metrics(-float(scored.sum()), len(scored), validation.target_bytes(blocks))
    metrics["seconds"] = time.perf_counter() - started
    return {f"baseline_kneser_ney_{order}gram_{name}": value for name, value in metrics.items()}, model


def sample_continuations(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    documents: "PackedDocuments",
    config: "LanguageModelEvaluationConfig",
    seed: int,
    baseline: KneserNeyModel | None,
) -> dict[str, Any]:
    """Continuations of held-out prompts, and the next tokens the model expects after each, for a reader to judge.

    The prompts are the beginnings of documents spread over the split, 24 tokens each (less for short documents).

    Returns:
        Content of samples.json: note, titles, and for each prompt a map: prompt, reference (how the document goes on),
        output (sampled at config.temperature), tokens: the five likeliest next ones with the probability that model and
        baseline give them.
    """
    import torch

    starts = documents.document_starts_D
    ends = np.append(starts[1:], len(documents.tokens_N))
    candidates = np.flatnonzero(ends - starts >= 32)
    candidates = candidates if len(candidates) else np.flatnonzero(ends - starts >= 4)
    picks = candidates[np.linspace(0, len(candidates) - 1, min(config.samples, len(candidates)), dtype=int)]
    generator_state, was_training = torch.get_rng_state(), model.training
    model.eval()
    torch.manual_seed(seed)
    samples = []
    room = min(documents.block_size, getattr(model.config, "max_position_embeddings", None) or documents.block_size)
    for document in picks:
        start, end = int(starts[document]), int(ends[document])
        prompt_tokens = max(1, min(24, (end - start) // 2, room // 2))
        prompt_T = torch.tensor(documents.tokens_N[start : start + prompt_tokens].astype(np.int64))[None]
        new_tokens = max(1, min(config.sample_new_tokens, room - prompt_tokens))
        with torch.no_grad():
            logits_V = model(input_ids=prompt_T.to(model.device), use_cache=False).logits[0, -1].float()
            generate: Any = model.generate
            output = generate(
                prompt_T.to(model.device),
                attention_mask=torch.ones_like(prompt_T).to(model.device),
                do_sample=True,
                temperature=config.temperature,
                max_new_tokens=new_tokens,
                pad_token_id=documents.pad_token_id,
                use_cache=True,
            )
        expected = baseline.distribution(prompt_T[0].tolist()) if baseline is not None else None
        samples.append(
            {
                "prompt": tokenizer.decode(prompt_T[0], skip_special_tokens=True),
                "reference": tokenizer.decode(
                    documents.tokens_N[start + prompt_tokens : min(end, start + prompt_tokens + new_tokens)].tolist(),
                    skip_special_tokens=True,
                ),
                "output": tokenizer.decode(output[0, prompt_tokens:], skip_special_tokens=True),
                "tokens": likeliest(logits_V, expected, lambda token: str(tokenizer.decode([token]))),
            }
        )
    torch.set_rng_state(generator_state)
    model.train(was_training)
    return {
        "note": "Held-out prompts, how the document goes on, and how the model does.",
        "titles": ["Prompt", "The document", "The model, sampled", "Next token, likeliest first"],
        "samples": samples,
    }
