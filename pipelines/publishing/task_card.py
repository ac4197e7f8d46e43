"""The model card of a fine-tuned model."""

from pathlib import Path
from typing import Any


def write_task_card(
    folder: Path, task: Any, plan: dict[str, Any], metrics: dict[str, float], corpus: str, licence: str | None
) -> None:
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
