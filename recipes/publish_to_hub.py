"""Push a finished run to the Hugging Face Hub: its model with a card made of evidence, its corpus or its predictions.

python recipes/publish_to_hub.py runs/finetune_classification/default --publish.repo_id user/name
python recipes/publish_to_hub.py runs/finetune_classification/default --publish.dry_run true
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import FinishedRunConfig, PublishRunConfig
from pipelines.run import launch

POSITIONAL = "run.dir"


@dataclass
class Config:
    run: FinishedRunConfig = field(default_factory=FinishedRunConfig)
    publish: PublishRunConfig = field(default_factory=PublishRunConfig)


def main(config: Config) -> None:
    from pipelines.publishing.dataset import push_dataset
    from pipelines.publishing.publish import push_model
    from pipelines.run_folder import finished_run_folder

    folder = finished_run_folder(config.run.dir)
    if config.publish.content == "model":
        push_model(folder, config.publish)
    else:
        push_dataset(folder, config.publish)


if __name__ == "__main__":
    launch(main, Config, __file__, positional=POSITIONAL)
