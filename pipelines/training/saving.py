"""Writing the trained model, and loading it back before the run says that it is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import CheckpointError
from pipelines.run_folder import RunFolder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from pipelines.training.trainer import ExactTrainer

MAX_SHARD_SIZE = "5GB"  # of one file of weights: what a broken upload or download has to repeat


def save_model(
    trainer: "ExactTrainer",
    tokenizer: "PreTrainedTokenizerBase",
    folder: RunFolder,
    inputs: Mapping[str, "torch.Tensor"] | None = None,
) -> None:
    """Writes model/ aside, loads it back, compares weights and logits, and only then puts it in its place.

    A model with LoRA is written twice: model/ has the updates merged into the weights, model/adapter/ them alone.

    Args:
        trainer: has the trained model.
        tokenizer: is saved beside it.
        folder: the run folder.
        inputs: a batch to compare logits on. Default: the first few tokens of the vocabulary.

    Raises:
        CheckpointError: the reloaded model has other weights or computes something else.
    """
    import torch

    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    device = next(model.parameters()).device
    if inputs is None:
        ids_T = torch.arange(min(8, trainer.blocks.documents.block_size))[None]
        inputs = {"input_ids": ids_T} | ({"decoder_input_ids": ids_T} if model.config.is_encoder_decoder else {})
    inputs = {name: value.to(device) for name, value in inputs.items()}
    model.eval()
    with folder.new_model() as aside:
        trained = _first_output(model, inputs)
        if hasattr(model, "merge_and_unload"):
            model.save_pretrained(aside / "adapter")
            (aside / "adapter" / "README.md").unlink(missing_ok=True)  # peft's own, which says nothing of this run
            model = model.merge_and_unload()
        _write(model, aside)
        tokenizer.save_pretrained(aside)
        reloaded = type(model).from_pretrained(aside, dtype="float32").to(device).eval()
        reloaded.set_attn_implementation(model.config._attn_implementation)
        weights = reloaded.state_dict()
        changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, weights[name])]
        again = _first_output(reloaded, inputs)
        # Equal weights may still take another path through the matrix kernels, by their alignment in memory: 9e-8 seen.
        if changed or not torch.allclose(trained, again, atol=1e-4, rtol=1e-4):
            found = (
                f"weights {changed[0]!r} differ" if changed else f"logits by {float((trained - again).abs().max()):.3g}"
            )
            raise CheckpointError(f"The model saved in {aside} is not the trained one: {found}.")


def _write(model: Any, aside: Path) -> None:
    generates = model.can_generate()
    if generates:
        model.config.use_cache = True  # for those who generate with it
    model.save_pretrained(aside, max_shard_size=MAX_SHARD_SIZE)
    if generates:
        model.config.use_cache = False


def _first_output(model: Any, inputs: Mapping[str, Any]) -> "torch.Tensor":
    """Logits, or what stands in their place: start logits, or without a head the last hidden states."""
    import torch

    with torch.no_grad():
        return model(**inputs)[0].float()
