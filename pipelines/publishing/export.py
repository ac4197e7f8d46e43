"""A saved model as an ONNX graph, by the exporter of transformers, compared with PyTorch before it is kept."""

import importlib.util
import inspect
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipelines.errors import CheckpointError, ConfigError
from pipelines.pretrained import saved_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INSTALL = "pip install -c requirements.lock -e '.[onnx]'"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FILE = "model.onnx"
# How the names of the classes end that can be exported: heads of encoders, decoders, and encoders without a head.
ENDINGS = (
    *("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice"),
    *("ForMaskedLM", "ForCausalLM", "LMHeadModel", "Model"),
)
# Largest difference of an output, as a share of its largest value, or of 1 where that is smaller. Seen: 3e-6 for tiny
# models of 25 architectures and for SmolLM2, where that is 1e-4 of 36 and PyTorch in fp32 is 7e-5 from itself in fp64.
TOLERANCE = 1e-4
PROTOBUF_LIMIT = 3 * 2**29  # bytes of weights; a protobuf file ends at 2 GiB
LONGEST = 24


class Shape(NamedTuple):
    """Shape of a batch: rows, tokens of a row, and the side on which the last row is padded."""

    rows: int
    tokens: int
    padding: Literal["left", "right"]


def check_export() -> None:
    """Raises ConfigError if a package is missing that an export needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"An ONNX export needs {' and '.join(missing)}, not installed here. Run: {INSTALL}")


def export_onnx(model_folder: Path, target: Path) -> float:
    """Exports a saved model with free batch and sequence axes, and compares its outputs with PyTorch's.

    The inputs are those that the tokenizer gives and the model takes. The outputs are the logits (start and end logits
    of spans), computed without a cache, or without a head the last hidden states. No path of this machine is in it.

    Args:
        model_folder: a run folder or model folder.
        target: a folder, made if need be, for model.onnx; weights of more than 1.5 GiB go to model.onnx.data beside it.

    Returns:
        The largest difference from PyTorch, as TOLERANCE counts it.

    Raises:
        ConfigError: the extra is not installed, there is no such model, or it is of a kind that cannot be exported.
        CheckpointError: it could not be exported, or the exported model computes something else. Nothing is kept.
    """
    check_export()
    with _quiet():
        model, inputs = _load(model_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as aside:
            difference = _write(model, inputs, Path(aside), model_folder)
            target.mkdir(exist_ok=True)
            (target / f"{FILE}.data").unlink(missing_ok=True)
            for path in Path(aside).iterdir():
                os.replace(path, target / path.name)
    return difference


def _write(model: "PreTrainedModel", inputs: Sequence[str], folder: Path, source: Path) -> float:
    """Writes model.onnx of a model and compares it; the arguments, result and errors are those of `export_onnx`."""
    traced, *others = _shapes(model.config)
    try:
        _save(_export(model, _batch(model.config, inputs, traced)), folder)
    except Exception as error:  # of torch, onnxscript or onnx, which have no class in common
        raise CheckpointError(
            f"The exporter of transformers cannot make an ONNX graph of the {type(model).__name__} in {source}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
    difference = _compare(model, folder / FILE, [_batch(model.config, inputs, shape) for shape in others])
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"The ONNX graph of {source} computes something else than the model: outputs differ by {difference:.3g} "
            f"of their largest value, allowed is {TOLERANCE:g}. It was not kept."
        )
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what torch and the exporter print, log and warn of in between."""
    import transformers

    transformers.logging.disable_progress_bar()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _load(model_folder: Path) -> tuple["PreTrainedModel", list[str]]:
    """The model with its head, in fp32, and the names of its inputs.

    Raises:
        ConfigError: there is no such model, or it is of a kind that cannot be exported.
    """
    import transformers
    from transformers import AutoConfig, AutoTokenizer

    checkpoint = saved_checkpoint(str(model_folder), None)
    config = checkpoint.load("config", AutoConfig.from_pretrained)
    architecture = (config.architectures or [""])[0]
    if config.is_encoder_decoder:
        raise ConfigError(
            f"{model_folder} is a {architecture}, which cannot be exported: an encoder-decoder writes token by token, "
            "and would need a graph for its encoder and others for the steps of its decoder. Encoders and decoders can."
        )
    if not hasattr(transformers, architecture) or not architecture.endswith(ENDINGS):
        raise ConfigError(
            f"{model_folder} is a {architecture or config.model_type}, which cannot be exported. Expected a class of "
            f"transformers whose name ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}."
        )
    model = checkpoint.load_with_head(config).eval()
    model.config.use_cache = False  # the cache would be an output
    tokenizer = checkpoint.load("tokenizer", AutoTokenizer.from_pretrained)
    taken = inspect.signature(model.forward).parameters
    return model, [name for name in tokenizer.model_input_names if name in taken]


def _shapes(config: Any) -> tuple[Shape, ...]:
    """The shape that is traced, then those that are compared: shorter, longer, and one row without padding."""
    positions = getattr(config, "max_position_embeddings", None) or LONGEST + 2
    longest = min(LONGEST, positions - 2)  # RoBERTa's positions start at 2
    return (
        Shape(2, max(longest * 2 // 3, 2), "right"),
        Shape(3, max(longest // 3, 2), "right"),
        Shape(4, longest, "left"),
        Shape(1, max(longest // 2, 2), "right"),
    )


def _batch(config: Any, inputs: Sequence[str], shape: Shape) -> dict[str, Any]:
    """Random tokens; the last of several rows ends, or begins, with padding for a third of its length."""
    import torch

    draw = torch.Generator().manual_seed(shape.tokens)
    size: tuple[int, ...] = (shape.rows, shape.tokens)
    if (config.architectures or [""])[0].endswith("ForMultipleChoice"):
        size = (shape.rows, 2 + shape.rows % 2, shape.tokens)
    pad = config.pad_token_id or 0
    ids = torch.randint(config.vocab_size, size, generator=draw)
    ids[ids == pad] = (pad + 1) % config.vocab_size
    mask = torch.ones_like(ids)
    if shape.rows > 1:
        padded = -(-shape.tokens // 3)
        part = slice(padded) if shape.padding == "left" else slice(shape.tokens - padded, None)
        ids[-1, ..., part], mask[-1, ..., part] = pad, 0
    types = torch.zeros_like(ids)
    types[..., shape.tokens // 2 :] = min(1, getattr(config, "type_vocab_size", 1) - 1)
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: batch[name] for name in inputs}


def _export(model: "PreTrainedModel", batch: dict[str, Any]) -> Any:
    """The graph as an onnx_ir.Model, its axes named, and without metadata: stack traces with paths of this machine."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from torch.export import Dim
    from transformers.exporters import OnnxConfig, OnnxExporter

    axes = {name: dict.fromkeys(range(tensor.dim()), Dim.AUTO) for name, tensor in batch.items()}
    program = OnnxExporter().export(model, batch, OnnxConfig(dynamic=True, dynamic_shapes=axes)).program
    ClearMetadataAndDocStringPass()(program)
    program.graph.metadata_props.clear()
    _name_axes(program.graph)
    return program


def _name_axes(graph: Any) -> None:
    """Names the free axes of inputs and outputs, which are s53 and the like, by what they count."""
    import onnx_ir

    names: dict[str, str] = {}
    for value in graph.inputs:
        axes = ("batch", "choices", "sequence") if len(value.shape) == 3 else ("batch", "sequence")
        names |= {str(size): axis for size, axis in zip(value.shape, axes, strict=True)}
    for value in (*graph.inputs, *graph.outputs):
        value.shape = onnx_ir.Shape([names.get(str(size), size) for size in value.shape])


def _save(program: Any, folder: Path) -> None:
    import onnx_ir

    tensors = (value.const_value for value in program.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    onnx_ir.save(program, folder / FILE, external_data=f"{FILE}.data" if size > PROTOBUF_LIMIT else None)


def _compare(model: "PreTrainedModel", file: Path, batches: Sequence[dict[str, Any]]) -> float:
    """The largest difference of any output between PyTorch and onnxruntime, as TOLERANCE counts it.

    Outputs at padding are left out, since nothing may be made of them.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    differences = []
    for batch in batches:
        with torch.no_grad():
            expected = model(**batch)
        found = session.run(outputs, {put.name: batch[put.name].numpy() for put in session.get_inputs()})
        mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
        for name, array in zip(outputs, found, strict=True):
            ours, theirs = expected[name], torch.from_numpy(array)
            if ours.shape[: mask.dim()] == mask.shape:
                ours, theirs = ours[mask], theirs[mask]
            differences.append((ours - theirs).abs().max() / ours.abs().max().clamp(min=1))
    return float(torch.stack(differences).max())
