"""Writing with a saved model: prompts as they are, or conversations in the tokenizer's chat template."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import end_check
from pipelines.errors import ConfigError, DataError
from pipelines.finetuning.predicting import check_output, write_rows
from pipelines.pretrained import saved_checkpoint
from pipelines.tasks.conversation import Message, check_messages, prompt_ids, stop_ids
from pipelines.tasks.writing import pad_left, write

if TYPE_CHECKING:
    from pipelines.task_sections import GenerationConfig

ENDINGS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel", "EncoderDecoderModel")


@dataclass(frozen=True)
class Writer:
    """A model that writes, and how."""

    model: Any
    tokenizer: Any
    config: "GenerationConfig"
    is_chat: bool

    def messages(self, prompt: str, before: Sequence[Message] = ()) -> list[Message]:
        """A prompt as the next turn of a conversation; the system message comes first."""
        first = [] if before or self.config.system is None else [{"role": "system", "content": self.config.system}]
        return [*before, *first, {"role": "user", "content": prompt}]

    def write(self, conversations: Sequence[Sequence[Message]], streamer: Any = None) -> list[str]:
        """What the model writes for each conversation; without a chat template, what it makes of its last turn."""
        end_check()
        config, own = self.config, self.model.config
        rows = [
            prompt_ids(self.tokenizer, messages)
            if self.is_chat
            else self.tokenizer(messages[-1]["content"])["input_ids"]
            for messages in conversations
        ]
        if not all(rows):
            raise DataError("A prompt is empty, and this tokenizer has no token that texts begin with. Give it a word.")
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        inputs = pad_left(rows, pad or 0)
        if own.is_encoder_decoder:
            inputs = dict(self.tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt"))
            inputs.pop("token_type_ids", None)
        # Without a top_k of ours, transformers would take 50.
        sampling = {"temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k or 0}
        settings: dict[str, Any] = {
            "max_new_tokens": config.max_new_tokens,
            "num_beams": config.num_beams,
            "repetition_penalty": config.repetition_penalty,
            "do_sample": config.do_sample,
            **(sampling if config.do_sample else {}),
        }
        stops = stop_ids(self.tokenizer) or {own.eos_token_id}
        inputs = {name: value.to(self.model.device) for name, value in inputs.items()}
        ids = write(self.model, inputs, False, sorted(stops), pad or 0, streamer=streamer, **settings)
        texts: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return texts


def load_writer(name: str | None, revision: str | None, config: "GenerationConfig") -> Writer:
    """A model that can write, from a run folder, a model folder, a Hub id or package://...

    Raises:
        ConfigError, HubError: there is no such model, it cannot write, or settings exclude each other.
    """
    import torch
    import transformers
    from accelerate.utils import set_seed
    from transformers import AutoConfig, AutoTokenizer

    import pipelines.models.recurrent  # noqa: F401  registers its model type with transformers
    from pipelines.training.hardware import use_cpu_threads

    if config.prompt is not None and config.input is not None:
        raise ConfigError("generate.prompt and generate.input exclude each other. Give one.")
    if config.num_beams > 1 and config.do_sample:
        raise ConfigError("generate.num_beams is for a search without sampling: set --generate.do_sample false.")
    check_output(config.output, "generate.output")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    use_cpu_threads(config.threads)
    set_seed(config.seed)
    checkpoint = saved_checkpoint(name, revision)
    is_gguf = "gguf_file" in checkpoint.options
    model_config = checkpoint.load("config", AutoConfig.from_pretrained)
    architecture = (model_config.architectures or [""])[0]
    if not is_gguf and not architecture.endswith(ENDINGS):
        raise ConfigError(
            f"{name} is a {architecture}, which does not write. For its task use recipes/predict.py, or name a causal "
            "or sequence-to-sequence model."
        )
    tokenizer = checkpoint.load("tokenizer", AutoTokenizer.from_pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = checkpoint.load_with_head(model_config).to(device).eval()
    if config.chat and tokenizer.chat_template is None:
        raise ConfigError(
            f"generate.chat is true, but the tokenizer of {name} has no chat template. Leave generate.chat out."
        )
    return Writer(model, tokenizer, config, tokenizer.chat_template is not None if config.chat is None else config.chat)


def answer_file(writer: Writer, config: "GenerationConfig") -> None:
    """Writes an answer to each prompt of a file, as json lines.

    Raises:
        DataError: there is no such file, it is not UTF-8, or a line is neither a prompt nor a conversation.
    """
    if config.input == "-":
        shown, lines = "Standard input", sys.stdin.read().splitlines()
    else:
        path = Path(str(config.input)).expanduser()
        if not path.is_file():
            raise DataError(f"generate.input is {config.input!r}: there is no such file.")
        try:
            shown, lines = str(config.input), path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"generate.input is {config.input!r}, which is not UTF-8 text: {error}.") from None
        except OSError as error:
            raise DataError(
                f"generate.input is {config.input!r}, which cannot be read: {error.strerror}. Check its access rights."
            ) from None
    rows = [_row(line, number, shown) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{shown} has no prompts.")

    def answers() -> Any:
        for start in range(0, len(rows), config.batch_size):
            part = rows[start : start + config.batch_size]
            asked = [row.get("messages") or writer.messages(row["prompt"]) for row in part]
            for row, text in zip(part, writer.write(asked), strict=True):
                yield row | {"text": text}

    write_rows(answers(), config.output)


def _row(line: str, number: int, shown: str) -> dict[str, Any]:
    if not line.lstrip().startswith("{"):
        return {"prompt": line}
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{shown}, line {number:,} is not valid JSON: {error.msg}.") from None
    if not isinstance(row.get("prompt"), str) and not isinstance(row.get("messages"), list):
        raise DataError(
            f"{shown}, line {number:,} has neither 'prompt' nor 'messages'. Found: {', '.join(row)}. Each needs one."
        )
    told = check_messages(row["messages"]) if row.get("messages") or "prompt" not in row else None
    if told is not None:
        raise DataError(f"{shown}, line {number:,}: {told[1]}")
    return dict(row)


def converse(writer: Writer) -> None:
    """A dialogue in the terminal; an empty line or the end of input ends it. The model's words appear as they come."""
    from transformers import TextStreamer

    streams = not writer.model.config.is_encoder_decoder and writer.config.num_beams == 1
    conversation: list[Message] = []
    end_check()
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            break
        if not line.strip():
            break
        asked = writer.messages(line, conversation)
        streamer = TextStreamer(writer.tokenizer, skip_prompt=True, skip_special_tokens=True) if streams else None
        text = writer.write([asked], streamer)[0]
        if not streams:
            print(text)
        if writer.is_chat:
            conversation = [*asked, {"role": "assistant", "content": text}]
