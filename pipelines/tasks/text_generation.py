"""Writing a text for a text: summarization and translation, by encoder-decoders, or by decoders from a prompt.

Shape legend: B examples, T positions, R rows.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from pipelines.data.document_rows import Seq2SeqCollator
from pipelines.data.examples import Batch, Examples, Ragged, collate
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.data.packing import IGNORE_INDEX
from pipelines.errors import ConfigError, DataError
from pipelines.metrics.chrf.chrf import chrf_of, chrf_statistics
from pipelines.metrics.loading import load_metric
from pipelines.metrics.rouge.rouge import rouge_rows
from pipelines.task_sections import SummarizationConfig, TranslationConfig
from pipelines.tasks.conversation import encode_conversation, next_token_labels, prompt_ids, stop_ids
from pipelines.tasks.heads import TargetLoss
from pipelines.tasks.task import (
    Limit,
    Loss,
    Prediction,
    Scored,
    Task,
    all_too_long,
    batches,
    check_text,
    close_counts,
    new_counts,
    too_long,
)
from pipelines.tasks.writing import pad_left, write
from pipelines.training.objectives import SequenceToSequence

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class _Written(NamedTuple):
    """A row as ids; what was cut off its source and its target; how many of its tokens a decoder of its own reads."""

    input_ids: list[int]
    labels: list[int]
    prompt: list[int]
    source_cut: int
    target_cut: int
    decoder_tokens: int = 0


class TextGeneration(Task):
    """A target text for each source text; what summarization and translation share."""

    policies = ("truncate", "drop", "error")
    generates = True
    default_prompt: ClassVar[str]
    """For decoders; {text} is the source."""

    def __init__(self, config: SummarizationConfig | TranslationConfig) -> None:
        super().__init__(config)
        self.prompt, self.max_target_length = config.prompt, config.max_target_length
        if self.prompt is not None and "{text}" not in self.prompt:
            raise ConfigError(
                f"task.prompt is {self.prompt!r}, without {{text}}: the model would not see what to write about. Put "
                "{text} where the source is to stand."
            )
        self.num_beams, self.no_repeat_ngram_size = config.num_beams, config.no_repeat_ngram_size
        self.length_penalty, self.tokenization = config.length_penalty, config.tokenization
        self.has_decoder_alone = False
        self.source_role, self.target_role = self.required
        self.start_token_id = 0

    # ------------------------------------------------------------ rows

    def input_problem(self, row: Row) -> Problem | None:
        return check_text(row, self.source_role)

    def answer_problem(self, row: Row) -> Problem | None:
        return check_text(row, self.target_role)

    def texts(self, row: Row) -> list[str]:
        return [row[self.source_role], row[self.target_role]]

    def input_key(self, row: Row) -> str:
        return str(row[self.source_role])

    # ------------------------------------------------------------ model

    def use_tokenizer(self, tokenizer: "PreTrainedTokenizerBase", model: Any) -> None:
        from pipelines.models.encoder_decoder import is_encoder_decoder

        self.has_decoder_alone = not is_encoder_decoder(model)
        self.frames = not self.has_decoder_alone  # a prompt that ended with EOS would say that all is said
        super().use_tokenizer(tokenizer, model)

    def build(self, config: Any, max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.attention_check import check_attention
        from pipelines.models.build import build_model, check_positions
        from pipelines.models.encoder_decoder import build_encoder_decoder, check_encoder_decoder
        from pipelines.models.sparse_head import SparseHead

        longest = None if max_length is None else max(max_length, self.max_target_length)
        size_key = "data.max_length" if longest == max_length else "task.max_target_length"
        if self.has_decoder_alone:
            self.prompt = self.prompt or self.default_prompt
            model = build_model("causal", config, self.tokenizer, longest, size_key=size_key)
            check_attention(model, isolate_documents=False)
            self.sparse = SparseHead(model)
            return model
        model = build_encoder_decoder(config, self.tokenizer, longest, size_key=size_key)
        check_encoder_decoder(model)
        check_positions(model, self.max_target_length, "task.max_target_length")
        self.start_token_id = model.config.decoder_start_token_id
        return model

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        return TargetLoss(bf16, self.sparse) if self.has_decoder_alone else SequenceToSequence(bf16)

    # ------------------------------------------------------------ encoding

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        counts = new_counts()
        encode = self._encode_prompt if self.has_decoder_alone else self._encode_pair
        policy = limit.policy(training)
        encoded: list[_Written] = []
        row_E: list[int] = []
        for start, batch in batches(rows):
            for place, row in enumerate(batch):
                one = encode(row, limit.max_length)
                if policy == "error":
                    self._refuse_long(one, rows.where(start + place), limit)
                tokens, cut = len(one.input_ids) + one.decoder_tokens, one.source_cut + one.target_cut
                if cut and policy == "drop":
                    counts["tokens_of_dropped_rows"] += tokens + cut
                    continue
                counts["tokens_kept"] += tokens
                counts["tokens_truncated"] += cut
                counts["rows_truncated"] += cut > 0
                encoded.append(one)
                row_E.append(start + place)
        if not encoded:
            raise all_too_long(limit)
        counts["rows_dropped_overlength"] = len(rows) - len(row_E)
        labels = [one.labels for one in encoded]
        fields = {"input_ids": Ragged([one.input_ids for one in encoded], np.int64), "labels": Ragged(labels, np.int64)}
        return Examples(
            fields,
            ("labels",),
            np.array(row_E, dtype=np.int64),
            np.array([sum(label != IGNORE_INDEX for label in row) for row in labels], dtype=np.int64),
            limit.max_length,
            self._pad,
            close_counts(counts),
            [] if training else [one.prompt for one in encoded],
            has_decoder=not self.has_decoder_alone,
        )

    @property
    def _pad(self) -> int:
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        return pad if pad is not None else eos if eos is not None else 0

    def _refuse_long(self, one: "_Written", where: str, limit: Limit) -> None:
        if one.source_cut:
            raise too_long(where, len(one.input_ids) + one.source_cut, limit)
        if one.target_cut:
            raise DataError(
                f"{where}: the {self.target_role} has {self.max_target_length + one.target_cut:,} tokens, more than "
                f"task.max_target_length ({self.max_target_length}). Raise it, shorten the row, or choose what becomes "
                "of such rows with --data.overlength."
            )

    def _encode_pair(self, row: Row, max_length: int) -> "_Written":
        """For an encoder-decoder."""
        text, target = self._asked(row[self.source_role]), row.get(self.target_role, "")
        source = self.tokenizer(text, verbose=False)["input_ids"]
        labels = self.tokenizer(text_target=target, verbose=False)["input_ids"]
        starts = labels[:1] == [self.start_token_id]  # BERT's [CLS], with which its decoder begins anyway
        most = self.max_target_length + starts
        cuts = max(len(source) - max_length, 0), max(len(labels) - most, 0)
        if cuts[0]:
            source = self.tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        if cuts[1]:  # the tokenizer keeps the stop token
            labels = self.tokenizer(text_target=target, truncation=True, max_length=most)["input_ids"]
        labels = labels[starts:]
        return _Written(source, labels, [], *cuts, decoder_tokens=len(labels))

    def _asked(self, source: str) -> str:
        """A source as the model is given it."""
        return source if self.prompt is None else self.prompt.replace("{text}", source)

    def _encode_prompt(self, row: Row, max_length: int) -> "_Written":
        """For a decoder alone: what is too long of the source is cut off it, and nothing of the prompt around it.

        There is always room for the longest target: what a model sees of a source does not depend on its own target.
        """
        target, source = row.get(self.target_role, ""), row[self.source_role]
        blank = "" if self.tokenizer.chat_template is not None else " "
        target_ids = self.tokenizer(f"{blank}{target}", add_special_tokens=False, verbose=False)["input_ids"]
        most = self.max_target_length - 1  # and the stop token
        if len(target_ids) > most:
            target = str(self.tokenizer.decode(target_ids[:most])).removeprefix(blank)
        prompt = self._prompt(source)
        whole, kept = len(prompt), 0
        ends: list[int] = []
        while (over := len(prompt) + self.max_target_length - max_length) > 0:
            if not ends:
                pieces = self.tokenizer(source, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
                ends = [end for _, end in pieces["offset_mapping"]]
                kept = len(ends)
            kept -= over
            if kept < 1:
                raise ConfigError(
                    f"The prompt and a target of {self.max_target_length} tokens leave no room for a source in "
                    f"data.max_length {max_length}. Raise it, or lower --task.max_target_length."
                )
            source = source[: ends[kept - 1]]
            prompt = self._prompt(source)
        ids, labels = self._render(prompt, source, target)
        cuts = whole - len(prompt), max(len(target_ids) - most, 0)
        return _Written(ids[:max_length], labels[:max_length], prompt, *cuts)

    def _render(self, prompt: list[int], source: str, target: str) -> tuple[list[int], list[int]]:
        """Ids of prompt and target, and labels."""
        if self.tokenizer.chat_template is not None:
            messages = [*self._messages(source), {"role": "assistant", "content": target}]
            ids, supervised = encode_conversation(self.tokenizer, messages)
        else:
            answer = [*self.tokenizer(f" {target}", add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
            ids, supervised = prompt + answer, [False] * len(prompt) + [True] * len(answer)
        return ids, next_token_labels(ids, supervised)

    def _messages(self, source: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": self._asked(source)}]

    def _prompt(self, source: str) -> list[int]:
        if self.tokenizer.chat_template is not None:
            return prompt_ids(self.tokenizer, self._messages(source))
        ids: list[int] = self.tokenizer(self._asked(source), verbose=False)["input_ids"]
        return ids

    def collate(self, examples: Sequence[Any]) -> Batch:
        if self.has_decoder_alone:
            return collate(examples, self._pad, {"labels": IGNORE_INDEX}, self.positions)
        return Seq2SeqCollator(self._pad, self.start_token_id, self.positions)(examples)

    # ------------------------------------------------------------ predictions and their worth

    def write(self, model: Any, batch: Batch, info: Sequence[Any], loss: Any) -> list[Any]:
        settings: dict[str, Any] = {"max_new_tokens": self.max_target_length, "num_beams": self.num_beams}
        if self.no_repeat_ngram_size:
            settings["no_repeat_ngram_size"] = self.no_repeat_ngram_size
        if self.num_beams > 1:
            settings["length_penalty"] = self.length_penalty
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        if self.has_decoder_alone:
            inputs = {name: one.to(batch["input_ids"].device) for name, one in pad_left(info, self._pad).items()}
        stops = stop_ids(self.tokenizer) or {model.config.eos_token_id}
        ids = write(model, inputs, loss.bf16, sorted(stops), self._pad, **settings)
        texts: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        found: list[Prediction] = [{"text": ""} for _ in rows]
        for text, row in zip(outputs, examples.row_E.tolist(), strict=True):
            found[row] = {"text": text}
        return found

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        return {"input": row[self.source_role], "expected": row[self.target_role], "predicted": prediction["text"]}

    def public(self, prediction: Prediction) -> Prediction:
        return {"text": prediction["text"]}

    def state(self) -> dict[str, Any]:
        kept = ("has_decoder_alone", "prompt", "start_token_id")
        return {name: getattr(self, name) for name in kept}

    def load_state(self, state: dict[str, Any]) -> None:
        self.has_decoder_alone, self.prompt = state["has_decoder_alone"], state["prompt"]
        self.start_token_id = state["start_token_id"]


class Summarization(TextGeneration):
    """A summary for each document. Scored by ROUGE."""

    key = name = "summarization"
    config_class = SummarizationConfig
    required = ("document", "summary")
    answers = ("summary",)
    default_prompt = "Summarize the following text in one sentence.\n\n{text}"

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        said, gold = _lines([one["text"] for one in predictions]), _lines([row["summary"] for row in rows])
        metrics = load_metric("rouge").compute(predictions=said, references=gold, tokenization=self.tokenization)
        rouge_l_R = rouge_rows(said, gold, ["rougeL"], tokenization=self.tokenization)["rougeL"]
        words = float(np.mean([len(one.split()) for one in said]))
        return Scored(
            {"rougeL": metrics.pop("rougeL"), **metrics, "words": words},
            "rougeL",
            lambda chosen: float(rouge_l_R[chosen].mean()),
            None,
            rouge_l_R,
            1.0,
        )

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.summarization import TextRank, lead, usual_sentence_count

        usual = usual_sentence_count([row["summary"] for row in train])
        rank = TextRank().fit([row["document"] for row in train])
        for count in sorted({1, usual}):
            yield f"lead_{count}", [{"text": lead(row["document"], count)} for row in rows]
        yield f"textrank_{usual}", [{"text": rank.summarize(row["document"], usual)} for row in rows]


class Translation(TextGeneration):
    """A translation for each source. Scored by chrF and BLEU."""

    key = name = "translation"
    config_class = TranslationConfig
    required = ("source", "target")
    answers = ("target",)
    learned_baseline = "ibm_model_1"
    default_prompt = "Translate the following text.\n\n{text}"

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__(config)
        self.bleu_tokenize = config.bleu_tokenize

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        said, gold = [one["text"] for one in predictions], [row["target"] for row in rows]
        chrf = load_metric("chrf").compute(predictions=said, references=gold)["score"]
        bleu = load_metric("bleu").compute(predictions=said, references=gold, tokenize=self.bleu_tokenize)["score"]
        statistics_RK = chrf_statistics(said, gold)
        worth_R = np.array([chrf_of(row_K) for row_K in statistics_RK])
        return Scored(
            {"chrf": chrf, "bleu": bleu},
            "chrf",
            lambda chosen: chrf_of(statistics_RK[chosen].sum(axis=0)),
            None,
            worth_R,
            100.0,
        )

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.translation import IbmModel1, copy_source

        yield "copy", [{"text": copy_source(row["source"])} for row in rows]
        known = list(train)
        model = IbmModel1().fit([row["source"] for row in known], [row["target"] for row in known])
        yield "ibm_model_1", [{"text": text} for text in map(model.translate, (row["source"] for row in rows))]


def _lines(texts: Sequence[str]) -> list[str]:
    """Texts with a line for each sentence, as ROUGE-Lsum reads them."""
    from pipelines.baselines.segmentation import split_sentences

    return ["\n".join(split_sentences(text)) for text in texts]
