"""What was pushed, loaded from the Hub again by its commit and compared with what lies here."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checksums import sha256_of
from pipelines.errors import HubError
from pipelines.pretrained import Checkpoint
from pipelines.publishing.hub_calls import call
from pipelines.publishing.rights import Destination
from pipelines.run import say

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4  # of logits in fp32; the weights are compared byte by byte, see training/saving.py


def compare_with_hub(
    destination: Destination, commit: str, checksums: Mapping[str, str], model: Path | None, scratch: Path
) -> None:
    """Downloads a commit, compares every file, and for a model the logits of a batch.

    Args:
        destination: the repository.
        commit: 40 hex digits.
        checksums: path in the repository -> SHA-256 of what was pushed.
        model: folder of the model that was pushed, if it is one of transformers.
        scratch: folder on a disk with room for it.

    Raises:
        HubError: a file is not on the Hub, or differs; or the model computes something else.
    """
    for is_last in (False, True):  # a file may have been damaged on the way here
        with tempfile.TemporaryDirectory(dir=scratch) as cache:
            different = _different(destination, commit, checksums, cache)
            if different and not is_last:
                say(f"{different[0]} came back damaged; downloading again")
                continue
            if different:
                others = f", and so do {len(different) - 1} more" if len(different) > 1 else ""
                raise HubError(
                    f"{different[0]} of {destination.repo_id} at {commit} is not what was pushed: its SHA-256 differs"
                    f"{others}. Delete the file on the Hub, then run the same command again."
                )
            if model is not None:
                _compare_logits(destination.repo_id, commit, model, cache)
            return


def _different(destination: Destination, commit: str, checksums: Mapping[str, str], cache: str) -> list[str]:
    """Files that are missing or whose bytes differ."""
    from huggingface_hub import snapshot_download

    def download() -> str:
        return str(
            snapshot_download(
                destination.repo_id,
                repo_type=destination.repo_type,
                revision=commit,
                cache_dir=cache,
                allow_patterns=[name.replace("[", "[[]") for name in checksums],
            )
        )

    folder = Path(call(f"loading {destination.repo_id} back", download))
    return [
        name
        for name, checksum in checksums.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != checksum
    ]


def _compare_logits(repo_id: str, commit: str, model: Path, cache: str) -> None:
    import torch

    key = "publish.repo_id"
    ours = _outputs(_load(Checkpoint(key, str(model), {})))
    theirs = _outputs(_load(Checkpoint(key, repo_id, {"revision": commit, "cache_dir": cache})))
    difference = float((ours - theirs).abs().max())
    if not torch.allclose(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE):
        raise HubError(
            f"The model that {repo_id} gives at {commit} computes something else than {model}: logits differ by "
            f"{difference:.3g}. Is the base model on the Hub another one than it was trained from?"
        )
    say(f"Loaded back: outputs {tuple(ours.shape)} for a fixed batch, at most {difference:.1e} apart")


def _load(checkpoint: Checkpoint) -> Any:
    from transformers import AutoConfig

    import pipelines.models.recurrent  # noqa: F401  registers its model type with transformers

    return checkpoint.load_with_head(checkpoint.load("config", AutoConfig.from_pretrained)).eval()


def _outputs(model: Any) -> "torch.Tensor":
    """The first output for a fixed batch of two rows, the second one padded, fp32."""
    import torch

    ids_BT = torch.arange(16).reshape(2, 8) % model.config.vocab_size
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, 5:] = 0
    inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
    if (model.config.architectures or [""])[0].endswith("ForMultipleChoice"):
        inputs = {name: values[None] for name, values in inputs.items()}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_BT
    with torch.no_grad():
        output: torch.Tensor = model(**inputs)[0]
    return output.float()
