"""Conversations as token ids, and which of them a model learns to write: by the chat template of its tokenizer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.data.packing import IGNORE_INDEX
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]  # role, content
TURN_BEGIN, TURN_END = "<|im_start|>", "<|im_end|>"
# ChatML, the form of OpenAI's chatml.md: a turn is <|im_start|>role, its content on the next line, and <|im_end|>.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


ROLES = ("system", "user", "assistant", "tool")


def check_messages(messages: Any) -> tuple[str, str] | None:
    """Why something is no conversation: a reason to count by, and what to tell; None where it is one."""
    if not isinstance(messages, list) or not messages:
        return "messages_not_list", f"messages must be a list of {{role, content}}; found {str(messages)[:80]!r}."
    for place, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return "message_malformed", f"message {place} is {str(message)[:80]!r}, expected {{role, content}}."
        if message["role"] not in ROLES:
            told = f"message {place} has the role {message['role']!r}; roles are {', '.join(ROLES)}."
            return "unknown_role", told
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return "empty_content", f"message {place} ({message['role']}) has no content."
    return None


class Encoded(NamedTuple):
    """A conversation.

    Attributes:
        input_ids: token ids.
        supervised: whether each is one that the assistant is to write, the stop token of its turns included.
    """

    input_ids: list[int]
    supervised: list[bool]


def encode_conversation(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> Encoded:
    """A conversation in the form of the tokenizer's chat template, with the assistant's turns supervised.

    A turn of the assistant reaches from behind what the template writes before it (the generation prompt) to its stop
    token; what the template adds behind that, such as a line end, is not learnt.

    Raises:
        ConfigError: the template refuses the conversation, changes earlier turns with later ones, or ends a turn
            without a stop token: a model trained so would never stop.
    """
    whole = _render(tokenizer, messages)
    spans = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            after = _render(tokenizer, messages[: place + 1])
            if place:
                before = _render(tokenizer, messages[:place], add_generation_prompt=True)
            else:  # no template writes a generation prompt for nothing
                before = after[: after.find(message["content"])]
            if not (whole.startswith(after) and after.startswith(before)):
                raise ConfigError(
                    "The chat template writes a turn differently when another follows it, so the "
                    "assistant's tokens cannot be told. Set --task.chat_template chatml, or one of your own."
                )
            spans.append((len(before), len(after)))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    stops = np.isin(ids, list(stop_ids(tokenizer)))
    supervised_N = np.zeros(len(ids), dtype=bool)
    for start, end in spans:
        inside = np.flatnonzero((offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0]))
        stop = inside[stops[inside]]
        if not len(stop):
            raise ConfigError(
                f"The chat template ends a turn of the assistant without its stop token "
                f"{tokenizer.eos_token!r}: a model trained so would never stop. Set --task.chat_template chatml, or a "
                "template of your own that ends turns with it."
            )
        supervised_N[inside[0] : stop[0] + 1] = True  # tokens of no character between them included
    return Encoded(ids, supervised_N.tolist())


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """A conversation up to where the assistant is to write."""
    text = _render(tokenizer, messages, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """The tokens that end a turn: EOS, and ChatML's end of a turn if the tokenizer has it."""
    end: Any = tokenizer.convert_tokens_to_ids(TURN_END)  # get_vocab would build a map of all tokens for every row
    return {tokenizer.eos_token_id, None if end == tokenizer.unk_token_id else end} - {None}


def next_token_labels(ids: Sequence[int], supervised: Sequence[bool]) -> list[int]:
    """The label of each position, already shifted: the next token where that is supervised, else IGNORE_INDEX."""
    labels = [token if learnt else IGNORE_INDEX for token, learnt in zip(ids, supervised, strict=True)]
    return [*labels[1:], IGNORE_INDEX]


def _render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], **options: Any) -> str:
    import jinja2

    try:
        text: Any = tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        roles = ", ".join(message["role"] for message in messages)
        reason = " ".join(str(error).split())
        raise ConfigError(f"The chat template refuses a conversation of {roles}: {reason}") from None
    return str(text)


def use_template(tokenizer: "PreTrainedTokenizerBase", template: str | None) -> None:
    """Gives a tokenizer the template that the config names, if it names one.

    Args:
        tokenizer: is changed in place.
        template: chatml, the path of a Jinja file, or None.

    Raises:
        ConfigError: the tokenizer has no template and none is named, or there is no such file.
    """
    from pathlib import Path

    if template == "chatml":
        tokenizer.chat_template = CHATML
    elif template is not None:
        path = Path(template).expanduser()
        if not path.is_file():
            raise ConfigError(f"task.chat_template is {template!r}; expected chatml, or the path of a Jinja file.")
        try:
            tokenizer.chat_template = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"task.chat_template is {template!r}, which is not UTF-8 text: {error}.") from None
    elif tokenizer.chat_template is None:
        raise ConfigError(
            "The tokenizer has no chat template, so it does not say how a conversation is written. Set "
            "--task.chat_template chatml, or the path of a Jinja file."
        )
    if template == "chatml":
        tokenizer.eos_token = TURN_END
