"""Predict with a fine-tuned model: rows of a file or of standard input, json lines with scores out.

echo "A wonderful film." | python recipes/predict.py runs/finetune_classification/default
python recipes/predict.py user/model --predict.input reviews.csv --predict.columns '{review: text}'
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.task_sections import PredictionConfig, SavedModelConfig

POSITIONAL = "model.name"


@dataclass
class Config:
    model: SavedModelConfig = field(default_factory=SavedModelConfig)
    predict: PredictionConfig = field(default_factory=PredictionConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.predicting import check_output, predict_rows, read_rows, write_rows
    from pipelines.tasks.saved import load_saved

    check_output(config.predict.output, "predict.output")
    saved = load_saved(config.model.name, config.model.revision)
    rows = read_rows(config.predict, saved.task)
    write_rows(predict_rows(saved, rows, config.predict), config.predict.output)


if __name__ == "__main__":
    launch(main, Config, __file__, positional=POSITIONAL)
