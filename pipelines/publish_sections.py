"""The typed sections of publishing and verifying a run. The docstring under a field is its `--help` text."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class PublishConfig:
    """publish: where the model goes on the Hugging Face Hub, if anywhere (docs/publishing.md)."""

    repo_id: str | None = None
    """Repository that the model is pushed to when the run is done, such as user/name. Default: it stays here."""
    private: bool = True
    """Seen by you and your organisation alone; false: by everybody."""
    revision: str | None = None
    """Branch that is pushed to, made if need be. Default: main."""
    exist_ok: bool = False
    """Push also into a repository with files that no Plumbline run put there."""
    weights: Literal["merged", "adapter"] = "merged"
    """Of a run with LoRA: the whole model, or the adapter alone, which loads its base model from the Hub."""
    license: str | None = None
    """Licence id of the Hub, such as apache-2.0. Default: the base model's, if there is one."""
    license_name: str | None = None
    """Name of the licence, where license is other."""
    license_link: str | None = None
    """Address of the licence, or LICENSE for a file of the repository, where license is other."""
    base_model: str | None = None
    """Hub id of the checkpoint that model.name is a copy of, where model.name is a folder."""
    language: list[str] = field(default_factory=list)
    """Languages of the data, such as [en, zh]. Default: those of the data card."""
    tags: list[str] = field(default_factory=list)
    """Tags of the card."""
    git_tag: str | None = None
    """Tag that is set on what was pushed, such as v1.0."""
    collection: str | None = None
    """Collection that the repository is added to: its slug, or the title of one of yours, made if need be."""
    records: bool = True
    """Push the config, plan, receipt, metrics and report of the run too, to the folder run/."""
    checkpoints: bool = False
    """Push the checkpoints with their optimizer states too, to the folder checkpoints/."""
    export: list[Literal["onnx"]] = field(default_factory=list)
    """Other formats that are made, compared with the model, and pushed too (extra onnx)."""
    hide: bool = False
    """Replace absolute paths and e-mail addresses by (hidden) in what is pushed. Access tokens always stop a push."""
    load_back: bool = True
    """Load the repository back from the Hub, and compare every file and the logits of a batch."""
    dry_run: bool = False
    """Show every file, the card and the commits, without a connection."""


@dataclass
class PublishRunConfig(PublishConfig):
    """publish: what goes to the Hugging Face Hub, and where (docs/publishing.md)."""

    content: Literal["model", "corpus", "predictions"] = "model"
    """The model, or as a dataset: the cleaned corpus of a pretraining run, the scored rows with their predictions."""


@dataclass
class FinishedRunConfig:
    """run: a finished run; the first argument without a flag names it too."""

    dir: str | None = None
    """Run folder."""


@dataclass
class VerifyConfig:
    """verify: what of a finished run is computed again (docs/verification.md)."""

    checkpoint: int | None = None
    """Step of the checkpoint to compute from; 0: from the start. Default: the newest whole one before the last step."""
    steps: int | None = 10
    """Optimizer steps to compute again, at most to the last; null: none."""
    rescore: bool = True
    """Score and save the final model again, from the last checkpoint."""
    json: str | None = None
    """Write the result to this file too."""
