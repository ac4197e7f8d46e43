"""Show that a finished run is what its files say: checksums, counts, steps, figures and weights, computed again.

python recipes/verify_run.py runs/pretrain_clm/default
python recipes/verify_run.py runs/finetune_ner/default --verify.checkpoint 0 --verify.steps 50 --verify.json checks.json
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import FinishedRunConfig, VerifyConfig
from pipelines.run import launch

POSITIONAL = "run.dir"


@dataclass
class Config:
    run: FinishedRunConfig = field(default_factory=FinishedRunConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)


def main(config: Config) -> None:
    from pathlib import Path

    from pipelines.run_folder import finished_run_folder
    from pipelines.verification.verify import verify

    verify(finished_run_folder(config.run.dir), config.verify, Path(__file__).resolve().parent)


if __name__ == "__main__":
    launch(main, Config, __file__, positional=POSITIONAL)
