"""What a tokenizer puts around a text: the tokens that begin and end a document."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def document_frame(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """Ids of the tokens that a document begins and ends with: BOS (or CLS, or else EOS) and EOS (or SEP)."""
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return (end if begin is None else begin), end


def frame_texts(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Makes a tokenizer, in place, give every text the frame of a document.

    So a saved encoder reads texts as it was trained to; a tokenizer of a decoder, or trained here, adds no EOS.
    """
    from tokenizers import processors

    begin, end = document_frame(tokenizer)
    if tokenizer("")["input_ids"] != [begin, end]:
        names = tokenizer.convert_ids_to_tokens([begin, end])
        backend: Any = tokenizer
        backend.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=[names[0], "$A", names[1]],
            pair=[names[0], "$A", names[1], "$B", names[1]],
            special_tokens=list(dict(zip(names, (begin, end), strict=True)).items()),
        )


def frame_of(tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens that a tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    text = [place for place, is_special in enumerate(special) if not is_special]
    first, last = (text[0], text[-1]) if text else (len(ids), len(ids))
    return tuple(ids[:first]), tuple(ids[last + 1 :])
