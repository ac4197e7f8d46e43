"""Forms: how the rows of a suite's task become what a model reads.

A form takes a row with the roles that its data card gives the columns, and further columns by their own names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.data.labelled import FILE, NUMBER, Row
from pipelines.suites.official import SuiteChoice, SuiteClassification
from pipelines.task_sections import ClassificationConfig, MultipleChoiceConfig

# How COPA asks (Roemmele, Bejan and Gordon 2011).
COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
# How the query of ReCoRD names what is left out, and its passage the points of the summary.
PLACEHOLDER, HIGHLIGHT = "@placeholder", "@highlight"


CLASSES = ("accuracy", "f1", "f1_macro", "matthews_correlation")


@dataclass(frozen=True)
class Form:
    """A kind of row.

    Attributes:
        reshape: (row, whether it is trained on) -> the row by the roles of the task; None: the card gives them all.
        metrics: that such rows can be scored by.
        columns: read by their own names, besides the card's roles and `idx`.
        needs: that rows without an answer have.
        is_choice: one of several texts is chosen; else a text, or a pair of texts, gets a label.
        problem_type: of a classification.
    """

    reshape: Callable[[Row, bool], Row] | None = None
    columns: tuple[str, ...] = ()
    metrics: tuple[str, ...] = CLASSES
    answers: tuple[str, ...] = ("label",)
    is_choice: bool = False
    problem_type: str = "single_label_classification"

    def task(self, metrics: list[str]) -> SuiteClassification | SuiteChoice:
        """The task that fine-tunes and predicts such rows, scored by these metrics."""
        task: SuiteClassification | SuiteChoice
        if self.is_choice:
            task = SuiteChoice(MultipleChoiceConfig())
        else:
            task = SuiteClassification(ClassificationConfig(problem_type=self.problem_type))  # type: ignore[arg-type]
        task.official = tuple(metrics)
        return task


def _choice(row: Row, training: bool) -> Row:
    """One of several texts; of COPA, which of two is the cause, or the effect, of the premise."""
    if row.get("question") not in COPA_QUESTIONS:
        return row
    joint = "because" if row["question"] == "cause" else "so"
    return row | {"question": COPA_QUESTIONS[row["question"]], "stem": f"{row['text'].rstrip('. ')} {joint}"}


def _word_in_context(row: Row, training: bool) -> Row:
    """WiC: the word is marked in both sentences: *class*."""
    marked = {}
    for role, number in (("text", 1), ("text_pair", 2)):
        start, end = row[f"start{number}"], row[f"end{number}"]
        if not 0 <= start < end <= len(row[role]):
            raise ValueError(f"start{number} {start} and end{number} {end} are no place in {row[role]!r}")
        marked[role] = _mark(row[role], ((start, end, "*"),))
    return row | marked


def _coreference(row: Row, training: bool) -> Row:
    """WSC: the text with *noun* and #pronoun# marked, as T5 marks the pronoun (Raffel et al. 2020, section 2.4)."""
    words = list(re.finditer(r"\S+", row["text"]))
    places = []
    for number, sign in ((1, "*"), (2, "#")):
        index, span = row[f"span{number}_index"], row[f"span{number}_text"]
        if not 0 <= index < len(words):
            raise ValueError(f"span{number}_index is {index}, the text has {len(words)} words")
        begin = words[index].end() - len(re.sub(r"^\W+", "", words[index].group()))  # behind a quotation mark
        start = begin if row["text"].startswith(span, begin) else words[index].start()
        places.append((start, start + len(span), sign))
    return row | {"text": _mark(row["text"], tuple(places)), "text_pair": row["span1_text"]}


def _several_answers(row: Row, training: bool) -> Row:
    """MultiRC: whether an answer to a question on a paragraph is right; answers of one question are scored together."""
    place = row["idx"]
    if not isinstance(row["question"], str) or not isinstance(row["answer"], str):
        raise ValueError("question and answer must be text")
    return row | {
        "text_pair": f"{row['question']} {row['answer']}",
        "group": str(place["paragraph"]),
        "question_id": f"{place['paragraph']}-{place['question']}",
    }


def _entities(row: Row, training: bool) -> Row:
    """ReCoRD: which entity of the passage fills the query. In training, the right one is beside wrong ones only."""
    entities = list(dict.fromkeys(row["entities"]))
    answers = list(dict.fromkeys(row["answers"] or ()))
    right = [place for place, entity in enumerate(entities) if entity in answers]
    if training and right:
        entities = [entity for place, entity in enumerate(entities) if place not in right[1:]]
    return row | {
        "text": row["text"].replace(f"\n{HIGHLIGHT}\n", " "),
        "choices": [row["query"].replace(PLACEHOLDER, entity) for entity in entities],
        "entities": entities,
        "label": right[0] if right else None,
        "group": str(row["idx"]["passage"]),
    }


def _minimal_pair(row: Row, training: bool) -> Row:
    """Winogender: two rows next to each other differ in a pronoun alone, and belong together."""
    return row | {"group": f"{row[FILE]}, {(row[NUMBER] - 1) // 2}"}


def _mark(text: str, places: tuple[tuple[int, int, str], ...]) -> str:
    """Puts signs around parts of a text: (start, end, sign), in characters."""
    for start, end, sign in sorted(places, reverse=True):
        text = f"{text[:start]}{sign}{text[start:end]}{sign}{text[end:]}"
    return text


_SPANS = ("span1_index", "span1_text", "span2_index", "span2_text")
FORMS: dict[str, Form] = {
    "text": Form(),
    "number": Form(metrics=("pearson", "spearmanr"), problem_type="regression"),
    "choice": Form(_choice, metrics=("accuracy",), is_choice=True),
    "word_in_context": Form(_word_in_context, ("word", "start1", "end1", "start2", "end2")),
    "coreference": Form(_coreference, _SPANS),
    "minimal_pair": Form(_minimal_pair, metrics=(*CLASSES, "gender_parity")),
    "several_answers": Form(_several_answers, ("answer", "idx"), ("f1_a", "exact_match", "accuracy", "f1")),
    "entities": Form(
        _entities,
        ("query", "entities", "answers", "idx"),
        ("entity_f1", "entity_exact_match"),
        answers=("answers",),
        is_choice=True,
    ),
}
