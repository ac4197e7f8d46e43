"""The proofs hold for every kind of model, and each planted defect makes its own proof fail."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from architectures import DECODERS, ENCODERS, VOCABULARY, FewTokens, attentions_of, build, objective_of
from exact_step import masking, ragged_documents
from finetune_runs import flags
from task_step import CONFIGS as TASKS
from task_step import WORDS, prepared, rows_of, text

from pipelines.data.collation import BlockCollator
from pipelines.data.labelled import FILE, NUMBER, Rows
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks
from pipelines.evaluation.language_modeling import evaluate_language_model
from pipelines.evaluation.masked_language_modeling import FixedMask
from pipelines.finetuning.proving import FewRows, exact_loss, misjudged
from pipelines.models.build import build_model
from pipelines.proofs import proofs
from pipelines.proofs import subject as subjects
from pipelines.proofs.proofs import Proof
from pipelines.proofs.subject import LAYERS, Subject, shrunk
from pipelines.run import run_recipe
from pipelines.sections import DataConfig, DataFiles, MaskedLanguageModelEvaluationConfig, ModelConfig
from pipelines.task_sections import ClassificationConfig, LabelledDataConfig
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.task import Limit
from pipelines.tasks.token_classification import TokenClassification
from pipelines.training.objectives import CausalLanguageModeling, MaskedLanguageModeling
from pipelines.training.trainer import ExactTrainer

EOS = FewTokens.eos_token_id


class Tokenizer(FewTokens):
    """What the proofs ask of one."""

    def __len__(self) -> int:
        return VOCABULARY


def documents() -> PackedDocuments:
    """Ragged documents that end with EOS."""
    packed = ragged_documents()
    ends = np.append(packed.document_starts_D[1:], len(packed.tokens_N)) - 1
    packed.tokens_N[ends] = EOS
    return replace(packed, bytes_N=np.ones(len(packed.tokens_N), np.uint8))


def subject(kind: str = "llama", **changed: Any) -> Subject:
    model, packed = build(kind, block_size=16), documents()
    is_masked = objective_of(kind) == "masked"
    blocks = TrainingBlocks(packed, TrainingOrder(len(packed), seed=0), 8, 8, masking() if is_masked else None)

    def make_objective(model: Any) -> Any:
        if is_masked:
            return MaskedLanguageModeling.of(model, isolate_documents=True)
        return CausalLanguageModeling(bf16=False)

    def evaluate(model: Any, objective: Any, batch_size: int) -> dict[str, float]:
        if is_masked:
            config = MaskedLanguageModelEvaluationConfig()
            return FixedMask(packed, masking(), objective, 8, config).evaluate_few(model, objective, batch_size)
        return evaluate_language_model(model, packed, objective, BlockCollator(), batch_size)

    whole = Subject(model, make_objective, blocks, BlockCollator(), Tokenizer(), evaluate, isolates=True)
    return replace(whole, **changed)


def split(subject: Subject) -> Proof:
    return proofs.split(subject, processes=1)


ALL: tuple[Callable[[Subject], Proof], ...] = (
    *(split, proofs.padding, proofs.isolation, proofs.supervision, proofs.vocabulary, proofs.gradients),
    *(proofs.saving, proofs.repetition, proofs.evaluation),
)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "modernbert"])
def test_every_proof_holds(kind: str) -> None:
    whole = subject(kind)
    for prove in ALL:
        proof = prove(whole)
        assert proof.holds, proof
        assert proof.figure is not None, proof
        assert proof.figure <= 1e-5, proof


@pytest.mark.parametrize("kind", sorted({*DECODERS, *ENCODERS} - {"llama", "gpt2", "bert", "modernbert"}))
def test_a_resumed_run_is_the_uninterrupted_one(kind: str) -> None:
    """GPT-NeoX's head is saved under another name, which transformers' Trainer passes over when it loads it."""
    assert proofs.repetition(subject(kind)).figure == 0


def test_the_copy_is_small_and_of_the_same_kind() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=5_000,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=6,
        num_attention_heads=16,
        num_key_value_heads=4,
    )
    with torch.device("meta"):
        large = LlamaForCausalLM(config)
    small = shrunk(large)
    assert type(small) is LlamaForCausalLM
    assert small.config.num_hidden_layers == LAYERS and small.config.vocab_size == 5_000
    assert small.config.num_attention_heads // small.config.num_key_value_heads == 4, "grouped as before"
    assert sum(one.numel() for one in small.parameters()) < 0.05 * sum(one.numel() for one in large.parameters())
    assert large.config.num_hidden_layers == 6, "the model itself is as it was"


DEEP = {"num_hidden_layers": 6, "n_layer": 6, "n_layers": 6, "num_layers": 6}
DEEP |= {"hidden_size": 256, "n_embd": 256, "dim": 256, "d_model": 256, "embedding_size": 64}
DEEP |= {"intermediate_size": 512, "hidden_dim": 512, "d_ff": 512, "num_key_value_heads": 4, "head_dim": 32}
DEEP |= dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 8)
SIDES = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in (("layers", 6), ("attention_heads", 8), ("ffn_dim", 512))
}
SEQ2SEQ = {"t5": {"d_model": 0, "d_kv": 32, "d_ff": 0, "num_layers": 0, "num_heads": 0}}
SEQ2SEQ |= dict.fromkeys(("bart", "marian"), {"d_model": 0, **SIDES})
HEADED = ("sequence", "token", "question", "choice")
WIDE = [
    *((name, objective_of(name)) for name in [*DECODERS, *ENCODERS]),
    *((name, "seq2seq") for name in SEQ2SEQ),
    *((name, HEADED[place % 4]) for place, name in enumerate(ENCODERS)),
]


@pytest.mark.parametrize(("kind", "head"), WIDE)
def test_the_copy_of_a_deep_and_wide_model(kind: str, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers, one of each kind that there is; narrower in all places alike, so that it can compute."""
    monkeypatch.setattr(subjects, "LARGEST", 0)
    sizes = (DECODERS | ENCODERS | SEQ2SEQ)[kind]
    sizes = sizes | {name: size for name, size in DEEP.items() if name in sizes}
    attention = attentions_of(kind)[0] if kind not in SEQ2SEQ else "eager"
    config = ModelConfig(config={"model_type": kind, **sizes}, attn_implementation=attention)
    with torch.device("meta"):
        model = build_model(head, config, FewTokens(), 64)
    small = shrunk(model)
    ids = torch.full((1, 1, 8) if head == "choice" else (1, 8), 5)
    with torch.no_grad():
        small(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **({"decoder_input_ids": ids} if head == "seq2seq" else {}),
        )
    assert type(small) is type(model)
    assert small.config.num_hidden_layers == LAYERS < model.config.num_hidden_layers
    assert small.config.hidden_size < model.config.hidden_size
    whole, few = (sum(one.numel() for one in net.parameters()) for net in (model, small))
    assert few < 0.1 * whole
    for name in ("layer_types", "no_rope_layers"):
        if isinstance(getattr(model.config, name, None), list):
            assert set(getattr(small.config, name)) == set(getattr(model.config, name))
            assert len(getattr(small.config, name)) == LAYERS


# ---------------------------------------------------------------- in a run


def classify(folder: Path, enabled: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and message of a run of two steps."""
    import finetune_classification as recipe

    argv = flags("classification", folder, folder / "run", "--evaluation.learning_curve", "false", steps=2)
    argv[argv.index("--proof.enabled") + 1] = enabled
    return run_recipe(recipe.main, recipe.Config, recipe.__file__, argv), capsys.readouterr().err


def test_a_run_is_proved_and_tells_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = classify(tmp_path, "true", capsys)
    assert code == 0 and "proofs hold" in told
    made = json.loads((tmp_path / "run" / "proof.json").read_text())
    assert made["enabled"] and all(one["holds"] for one in made["proofs"])
    assert {one["name"] for one in made["proofs"] if one["figure"] is not None} == {
        *("accumulation", "padding", "supervision", "vocabulary", "gradients"),
        *("evaluation", "scoring", "saving", "repetition"),
    }
    assert "Does not apply: A row is one example." in (tmp_path / "run" / "report.html").read_text()
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "The same seed gives the same steps, bit for bit" in card
    before = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    code, told = classify(tmp_path, "false", capsys)
    assert "This run is finished" in told, "proofs change nothing"
    shutil.rmtree(tmp_path / "run")
    code, told = classify(tmp_path, "false", capsys)
    assert code == 0 and "proofs hold" not in told
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == before, "nor random numbers"
    assert (
        "proofs of the run's arithmetic were not made" in (tmp_path / "run" / "model" / "README.md").read_text().lower()
    )


def test_a_proof_that_does_not_hold_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.tasks.heads import ClassLoss

    def as_a_mean(self: Any, model: Any, batch: Any) -> torch.Tensor:
        return self.loss_of(self.logits(model, batch), batch) / self.count(batch).clamp(min=1)

    monkeypatch.setattr(ClassLoss, "loss_sum", as_a_mean)
    code, told = classify(tmp_path, "true", capsys)
    assert code == 2 and "Traceback" not in told
    assert "ProofError: The proof of accumulation does not hold" in told and "Nothing was trained" in told
    assert not json.loads((tmp_path / "run" / "proof.json").read_text())["proofs"][0]["holds"]
    assert not (tmp_path / "run" / "model").exists()


# ---------------------------------------------------------------- planted defects


def test_labelled_rows_that_are_drawn_from_equal_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty rows, each of which stands there twice: one text is on one side, unless the draw forgets of it."""
    from pipelines.data import labelled

    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"film {n % 20}", "label": n % 2} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = LabelledDataConfig(files=DataFiles(train=str(path)), validation_share=0.25)

    def loaded() -> tuple[Any, str]:
        data = labelled.load_labelled(config, TextClassification(ClassificationConfig()), with_test=False)
        return data.receipt["validation"], capsys.readouterr().err

    receipt, told = loaded()
    assert receipt["rows_also_in_train"] == 0 and "WARNING" not in told
    numbers = iter(range(40))
    monkeypatch.setattr(TextClassification, "group_key", lambda self, row: str(next(numbers)))
    receipt, told = loaded()
    assert 0 < receipt["rows_also_in_train"] <= receipt["rows_kept"]
    assert f"WARNING: {receipt['rows_also_in_train']} of {receipt['rows_kept']} rows of validation" in told


def test_documents_that_are_drawn_from_equal_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.data import loaded as loaded_before
    from pipelines.data import loading

    # Only the drawing will change, which is no part of a run: the second load is to read again.
    monkeypatch.setattr(loaded_before, "SETTLED_SECONDS", float("inf"))
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": f"film {n % 20}"}) + "\n" for n in range(40)), encoding="utf-8")
    config = DataConfig(files=DataFiles(train=str(path)), validation_share=0.25)

    def loaded() -> tuple[int, str]:
        return loading.load_corpus(config).receipt["train_texts_in_validation"], capsys.readouterr().err

    inside, told = loaded()
    assert inside == 0 and "WARNING" not in told
    by_hash = loading.draw_by_hash
    monkeypatch.setattr(loading, "draw_by_hash", lambda table, hashes, share: by_hash(table, _by_place(hashes), share))
    inside, told = loaded()
    assert inside > 0 and f"WARNING: {inside} of " in told and "letter for letter" in told


def _by_place(hashes: np.ndarray) -> np.ndarray:
    """Hashes that know nothing of the texts."""
    return np.random.default_rng(0).permutation(len(hashes)).astype(np.uint64)


def test_a_loss_that_is_averaged_in_each_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute_loss(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None):
        loss = self.objective.loss_sum(model, inputs) / self.objective.count(inputs).clamp(min=1)
        loss = loss / self.args.gradient_accumulation_steps
        self._step_loss += loss.detach()
        return loss

    monkeypatch.setattr(ExactTrainer, "compute_loss", compute_loss)
    proof = split(subject())
    assert not proof.holds and proof.figure > 0.01 and "averaged in each micro-batch" in proof.cause


class SeesAll(CausalLanguageModeling):
    """Gives the model an attention mask, which turns the isolation of packed documents off."""

    def losses(self, model: Any, batch: Any) -> torch.Tensor:
        from pipelines.training.objectives import cross_entropy

        labels = batch["shift_labels"]
        logits = model(input_ids=batch["input_ids"], attention_mask=torch.ones_like(labels), use_cache=False).logits
        return cross_entropy(logits.flatten(0, 1), labels.flatten()).view_as(labels)


def test_a_mask_of_ones_in_packing() -> None:
    proof = proofs.isolation(subject(make_objective=lambda model: SeesAll(bf16=False)))
    assert not proof.holds and proof.figure > 0.001


class ShiftsTwice(CausalLanguageModeling):
    def losses(self, model: Any, batch: Any) -> torch.Tensor:
        labels = torch.roll(batch["shift_labels"], -1, dims=1)
        labels[:, -1] = IGNORE_INDEX
        return super().losses(model, dict(batch) | {"shift_labels": labels})


def test_labels_that_are_shifted_twice() -> None:
    proof = proofs.supervision(subject(make_objective=lambda model: ShiftsTwice(bf16=False)))
    assert not proof.holds and "shifted" in proof.cause


def test_an_end_of_text_that_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    block = PackedDocuments.block

    def without_end(self: PackedDocuments, index: int) -> dict[str, np.ndarray]:
        row = block(self, index)
        return row | {"shift_labels": np.where(row["shift_labels"] == EOS, IGNORE_INDEX, row["shift_labels"])}

    monkeypatch.setattr(PackedDocuments, "block", without_end)
    assert not proofs.supervision(subject()).holds


def test_a_parameter_that_no_gradient_reaches() -> None:
    whole = subject()
    whole.model.forgotten = torch.nn.Parameter(torch.zeros(3))
    proof = proofs.gradients(whole)
    assert not proof.holds and "forgotten" in proof.cause


def test_a_frozen_parameter_that_is_trained() -> None:
    import peft

    whole = subject()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 by a deprecated name
        lora = peft.get_peft_model(whole.model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    assert proofs.gradients(replace(whole, model=lora)).holds
    lora.base_model.model.model.norm.weight.requires_grad_(True)
    proof = proofs.gradients(replace(whole, model=lora))
    assert not proof.holds and "should be frozen" in proof.cause and "norm" in proof.cause


def test_a_tokenizer_of_another_model() -> None:
    class Larger(Tokenizer):
        def __len__(self) -> int:
            return VOCABULARY + 3

    assert proofs.vocabulary(subject(tokenizer=Larger())).figure == 3


def test_an_order_that_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    init = ExactTrainer.__init__

    def forgetful(self: Any, *, args: Any, **options: Any) -> None:
        args.ignore_data_skip = True
        init(self, args=args, **options)

    monkeypatch.setattr(ExactTrainer, "__init__", forgetful)
    proof = proofs.repetition(subject())
    assert not proof.holds and "Order" in proof.cause


def averaged(model: Any, objective: Any, batch_size: int) -> dict[str, float]:
    packed, losses = documents(), []
    model.eval()
    with torch.no_grad():
        for first in range(0, len(packed), batch_size):
            batch = BlockCollator()([packed.block(at) for at in range(first, min(first + batch_size, len(packed)))])
            losses.append(float(objective.loss_sum(model, batch) / objective.count(batch)))
    model.train()
    return {"eval_loss": sum(losses) / len(losses)}


def test_an_evaluation_that_averages_in_each_batch() -> None:
    proof = proofs.evaluation(subject(evaluate=averaged))
    assert not proof.holds and "averaged in each batch" in proof.cause


def test_dropout_that_stays_on_in_evaluation() -> None:
    def noisy(model: Any, objective: Any, batch_size: int) -> dict[str, float]:
        batch = BlockCollator()([documents().block(0)])
        with torch.no_grad():
            return {"eval_loss": float(objective.loss_sum(model, batch))}

    whole = subject("gpt2", evaluate=noisy)
    for module in whole.small.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    proof = proofs.evaluation(whole)
    assert not proof.holds and "Dropout is on" in proof.cause


def of_task(case: str, prepare: Callable[[Any], None] = lambda task: None) -> Subject:
    """The eight rows of a task, as held-out ones too."""
    task, examples, model = prepared(case)
    prepare(task)
    limit = Limit(40, task.policies[0])
    few = FewRows.of(task, rows_of(case), limit)
    blocks = TrainingBlocks(examples, TrainingOrder(len(examples), seed=0), 8, 8)
    return Subject(
        model,
        partial(exact_loss, task),
        blocks,
        task.collate,
        task.tokenizer,
        few.evaluate,
        None if task.generates else partial(misjudged, task, rows_of(case), limit),
    )


@pytest.mark.parametrize("case", TASKS)
def test_held_out_rows_of_every_task(case: str) -> None:
    whole = of_task(case)
    assert (proofs.evaluation(whole).figure or 0) <= 1e-6
    scoring = proofs.scoring(whole)
    assert scoring.figure == (None if case.startswith(("summary", "chat")) else 0)


def test_targets_that_end_with_sep_where_a_tokenizer_has_no_eos() -> None:
    """As with BERT's tokenizer; an end of another kind is found."""
    whole = of_task("summary-t5")
    end = whole.tokenizer.eos_token_id
    assert proofs.supervision(whole).figure == 0

    class WithSep(Tokenizer):
        eos_token_id, sep_token_id = None, end

    assert proofs.supervision(replace(whole, tokenizer=WithSep())).figure == 0

    class WithAnother(Tokenizer):
        eos_token_id, sep_token_id = None, end + 1

    assert not proofs.supervision(replace(whole, tokenizer=WithAnother())).holds


def test_a_metric_that_is_given_what_marks_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """All positions up to the number of words, those without a label as -100."""

    def every_position(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
        first_BT = batch["labels"] != IGNORE_INDEX
        tags_BT = logits.argmax(-1).masked_fill(~first_BT, IGNORE_INDEX)
        counts = first_BT.sum(dim=1).tolist()
        return [(tags_T[:n].tolist(), [1.0] * n) for tags_T, n in zip(tags_BT, counts, strict=True)]

    monkeypatch.setattr(TokenClassification, "outputs", every_position)
    proof = proofs.scoring(of_task("tokens-bert", lambda task: setattr(task, "spans", ())))
    assert not proof.holds and "hold -100" in proof.cause


def reversed_choices(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
    return [one.flip(0).numpy()[:n] for one, n in zip(logits, batch["choice_counts"].tolist(), strict=True)]


def shifted(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
    return list(logits.roll(1, dims=-1).numpy())


def without_pieces(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
    """Every position of text, special tokens and further pieces of words among them."""
    return [
        (tags_T[mask_T].tolist(), [1.0] * int(mask_T.sum()))
        for tags_T, mask_T in zip(logits.argmax(-1), batch["attention_mask"].bool(), strict=True)
    ]


def smallest(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
    return list((-logits).softmax(-1).numpy())


@pytest.mark.parametrize(
    ("case", "outputs"),
    [
        ("choice-bert", reversed_choices),
        ("question-bert", shifted),
        ("tokens-bert", without_pieces),
        ("single-bert", smallest),
        ("multi-bert", smallest),
        ("regression-roberta", lambda self, logits, batch: list((logits + 1).numpy())),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outputs_that_are_read_wrongly(case: str, outputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_task(case)
    monkeypatch.setattr(type(whole.misjudged.args[0]), "outputs", outputs)
    proof = proofs.scoring(whole)
    assert not proof.holds and proof.figure > 0.5, proof


def asked(*answers: str | None, context: str = " ".join(WORDS * 3)) -> Rows:
    """Rows on one context of 45 words, each with its answer; None: it has none."""
    found = [[] if answer is None else [answer] for answer in answers]
    rows = [
        {"question": "what holds", "context": context, "answers": {"text": texts, "answer_start": starts}}
        for texts, starts in ((texts, [context.index(text) for text in texts]) for texts in found)
    ]
    return Rows(pa.Table.from_pylist([row | {FILE: "rows", NUMBER: 1} for row in rows]))


def first_words(count: int) -> str:
    return " ".join((WORDS * 3)[:count])


WITHIN_REACH = ("array", first_words(30))
BEYOND_REACH = (first_words(31), first_words(45), "rra", "arr", "rray holds")


def scored(rows: Rows) -> Proof:
    """The proof of scoring on held-out rows."""
    whole = of_task("question-bert")
    limit = Limit(64, "split")
    return proofs.scoring(replace(whole, misjudged=partial(misjudged, whole.misjudged.args[0], rows, limit)))


def test_answers_that_no_span_can_be_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than max_answer_tokens (30), or not of whole tokens; in windows of 32, not whole in one."""
    task = prepared("question-bert")[0]
    assert task.max_answer_tokens == 30
    rows = asked(*BEYOND_REACH[:3], *WITHIN_REACH, *BEYOND_REACH[3:])
    assert [row["answers"]["text"][0] for row in task.within_reach(rows, Limit(64, "split"))] == list(WITHIN_REACH)
    in_windows = task.within_reach(asked(first_words(15), first_words(29), "zero"), Limit(32, "split"))
    assert [row["answers"]["text"][0] for row in in_windows] == [first_words(15), "zero"]
    assert scored(rows).figure == 0
    few = asked(*[first_words(45)] * 63, "array")  # more of them than are scored
    assert scored(few).figure == 0
    monkeypatch.setattr(QuestionAnswering, "outputs", shifted)
    proof = scored(few)
    assert proof.figure == 1 and not proof.holds and proof.limit == 0


def test_scoring_is_left_out_where_no_answer_can_be_given() -> None:
    proof = scored(asked(*[first_words(45)] * 8))
    assert proof.figure is None and "task.max_answer_tokens at most" in proof.cause


def test_certain_answers_are_told_from_none_whatever_rows_are_scored_together() -> None:
    """A threshold tuned on the other half of eight rows lies beside the margins of rows that are all of one kind."""
    for answers in ([None] * 8, ["array"] * 8, [None, "array"] * 4):
        task, _, model = prepared("question-bert")
        task.with_no_answer = True
        model.qa_outputs.weight.data *= 500
        contexts = [f"{text(place, 9)} array" for place in range(8)]
        tables = [asked(one, context=context).table for one, context in zip(answers, contexts, strict=True)]
        rows = Rows(pa.concat_tables(tables, promote_options="permissive"))
        assert misjudged(task, rows, Limit(40, "split"), model.eval(), exact_loss(task, model)) == 0
        assert task.threshold is None, "the run has its own"
