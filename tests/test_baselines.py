"""Baselines against values by hand and against data whose answer is plain."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.baselines import tagging, translation
from pipelines.baselines.classification import (
    TfidfClassifier,
    TfidfRegressor,
    majority_probabilities,
    mean_prediction,
)
from pipelines.baselines.features import TextFeatures
from pipelines.baselines.multiple_choice import TfidfChooser, position_shares
from pipelines.baselines.question_answering import Span, SpanBaseline, best_threshold, word_f1
from pipelines.baselines.retrieval import NearestAnswer
from pipelines.baselines.sampling import evenly_spread
from pipelines.baselines.segmentation import join, sentence_spans, split_sentences, words
from pipelines.baselines.summarization import TextRank, centrality, lead, usual_sentence_count
from pipelines.baselines.tagging import LinearTagger, MostFrequentTag, viterbi
from pipelines.baselines.translation import IbmModel1, copy_source
from pipelines.errors import DataError

GOOD = ["a good film", "good and warm", "so good", "质量很好", "很好，喜欢"]
BAD = ["a bad film", "bad and cold", "so bad", "质量很差", "很差，失望"]
TEXTS, LABELS = GOOD + BAD, [1] * 5 + [0] * 5

# ---------------------------------------------------------------- words and sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said: don't!", ["He", "said", ":", "don't", "!"]),
        ("我有2本书。", ["我", "有", "2", "本", "书", "。"]),
        ("カナ x_1", ["カ", "ナ", "x_1"]),
        (" \n", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("Dr. Li met J. R. Smith in the U.S. Army. She paid 3.5 dollars, e.g. Monday.", None),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("v1.2 is out. it is small.", ["v1.2 is out. it is small."]),
        ("我喜欢。“真的？”他说！好", ["我喜欢。", "“真的？”", "他说！", "好"]),
        ("Title\n\nFirst line\nsecond line", ["Title", "First line\nsecond line"]),
        ("  ", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences_are_parted_at_enders_but_not_at_abbreviations(text: str, expected: list[str] | None) -> None:
    found = split_sentences(text)
    if expected is None:
        expected = ["Dr. Li met J. R. Smith in the U.S. Army.", "She paid 3.5 dollars, e.g. Monday."]
    assert found == expected
    assert [text[start:end] for start, end in sentence_spans(text)] == found


def test_join_sets_blanks_as_each_script_does() -> None:
    assert join(["I", "like", "it", ",", "(", "really", ")", "!"]) == "I like it, (really)!"
    assert join(["我", "爱", "你", "。"]) == "我爱你。"
    assert join([]) == ""


def test_rows_are_evenly_spread_within_a_limit() -> None:
    assert evenly_spread([1, 1, 1], 3) == [0, 1, 2]
    assert evenly_spread([2] * 5, 6) == [0, 2, 4]
    assert evenly_spread([100, 100], 1) == [0]
    assert evenly_spread([], 5) == []


# ---------------------------------------------------------------- classification and regression


def test_shares_and_mean_by_hand() -> None:
    assert majority_probabilities([0, 2, 2, 2], 4).tolist() == [0.25, 0, 0.75, 0]
    assert majority_probabilities([[1, 0], [1, 1], [1, 0], [0, 0]], 2).tolist() == [0.75, 0.25]
    assert mean_prediction([1, 2, 6]) == 3


@pytest.mark.parametrize("labels", [[], [0, 3], [-1, 0], [[1, 0, 0], [2, 0, 0]], [[1, 0], [0, 1]]])
def test_labels_outside_the_classes_are_refused(labels: Any) -> None:
    with pytest.raises(DataError):
        majority_probabilities(labels, 3)


def test_separable_texts_are_told_apart_in_english_and_chinese() -> None:
    model = TfidfClassifier(2).fit(TEXTS, LABELS)
    found = model.predict_proba([*TEXTS, "what a good day", "bad luck", "这个很好", "真的很差"])
    assert found.argmax(axis=1).tolist() == [*LABELS, 1, 0, 1, 0]
    assert found.sum(axis=1) == pytest.approx(np.ones(14))


def test_more_than_two_classes_and_one_that_training_lacks() -> None:
    texts = ["red rose", "red wine", "blue sky", "blue sea", "green tree", "green tea"]
    found = TfidfClassifier(4).fit(texts, [0, 0, 1, 1, 2, 2]).predict_proba(["red", "blue", "green"])
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    assert found.sum(axis=1) == pytest.approx(np.ones(3))
    assert found[:, 3].tolist() == [0, 0, 0]


def test_several_labels_are_predicted_each_by_itself() -> None:
    texts = ["red", "blue", "red blue", "grey", "red tea", "blue tea", "red blue tea", "grey tea"]
    labels = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]] * 2)
    found = TfidfClassifier(3).fit(texts, labels).predict_proba(["red blue", "grey", "some red"])
    assert (found > 0.5).tolist() == [[True, True, True], [False, False, True], [True, False, True]]
    assert found[:, 2].tolist() == [1, 1, 1]  # a label of every row keeps its share


def test_pairs_are_told_apart_by_what_they_share() -> None:
    things = ["a cat", "the sea", "old books", "two birds", "green tea", "my house", "cold rain", "red shoes"]
    same = [(thing, thing) for thing in things]
    other = [(thing, things[place - 1]) for place, thing in enumerate(things)]
    model = TfidfClassifier(2).fit(same + other, [1] * 8 + [0] * 8)
    unseen = [("warm milk", "warm milk"), ("warm milk", "tall trees"), ("一只猫", "一只猫"), ("一只猫", "下雨了")]
    assert model.predict_proba(unseen).argmax(axis=1).tolist() == [1, 0, 1, 0]
    scores = TfidfRegressor().fit(same + other, [5.0] * 8 + [0.0] * 8).predict(unseen)
    assert scores[0] > 3 > 2 > scores[1]


def test_overlap_of_a_pair_by_hand() -> None:
    features = TextFeatures()
    features.fit_transform([("a b", "b c d"), ("a", "b")])
    idf = {"a": math.log(5 / 3) + 1, "b": math.log(5 / 4) + 1}  # four distinct texts, two with a, three with b
    rest = idf["a"]  # c and d stand in one text: as heavy as the rarest that is kept
    assert features._shared("a b", "B c d") == pytest.approx(
        [1 / 2, 1 / 3, 1 / 4]
        + [
            idf["b"] / (idf["a"] + idf["b"]),
            idf["b"] / (idf["b"] + 2 * rest),
            idf["b"] / (idf["a"] + idf["b"] + 2 * rest),
        ]
        + [math.log(3), math.log(4), math.log(4 / 3)]
    )
    assert features._shared("", "b")[:3] == [0, 0, 0]


def test_one_class_one_row_and_no_row() -> None:
    assert TfidfClassifier(3).fit(["x"], [1]).predict_proba(["y", ""]).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert TfidfRegressor().fit(["x"], [2.5]).predict(["y"]) == pytest.approx([2.5])
    assert TfidfRegressor().fit([("x", "y")], [2.5]).predict([("x", "")]) == pytest.approx([2.5])
    assert TfidfClassifier(2).fit(TEXTS, LABELS).predict_proba([]).shape == (0, 2)
    for texts in ([], ["", " \n"], [("", " ")]):
        with pytest.raises(DataError):
            TfidfClassifier(2).fit(texts, [0] * len(texts))


def test_ridge_learns_a_number_from_a_word() -> None:
    texts = [f"{word} {noun}" for word in ("small", "large") for noun in ("dog", "cup", "town", "idea", "cat", "hat")]
    scores = TfidfRegressor().fit(texts, [0.0] * 6 + [1.0] * 6).predict(["small boat", "large boat"])
    assert scores[0] < 0.35 < 0.65 < scores[1]


# ---------------------------------------------------------------- summarization


def test_lead_and_the_usual_number_of_sentences() -> None:
    assert lead("First. Second. Third.", 2) == "First. Second."
    assert lead("第一。第二。第三。", 2) == "第一。第二。"
    assert lead("", 3) == ""
    assert usual_sentence_count(["One. Two.", "One. Two. Three.", "One. Two. Three. Four."]) == 3
    assert usual_sentence_count([""]) == usual_sentence_count([]) == 1


def test_centrality_by_hand() -> None:
    star = np.array([[7, 1, 1], [1, 0, 0], [1, 0, 0]], float)  # a sentence's likeness to itself does not count
    middle = (0.05 + 0.85 * 0.1) / (1 - 0.85**2)
    assert centrality(star) == pytest.approx([middle] + [0.05 + 0.85 * middle / 2] * 2)
    assert centrality(np.zeros((4, 4))) == pytest.approx([0.25] * 4)
    assert centrality(star).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("Bees fly. Dogs and cats and fish eat. Cats sleep. Fish swim. Dogs run.", "Dogs and cats and fish eat."),
        ("天上有云。狗和猫和鱼都吃。猫睡。鱼游。狗跑。", "狗和猫和鱼都吃。"),
    ],
)
def test_textrank_picks_the_sentence_that_the_others_share_words_with(document: str, expected: str) -> None:
    model = TextRank().fit([document])
    assert model.summarize(document, 1) == expected
    three = split_sentences(model.summarize(document, 3))
    assert expected in three and three == [piece for piece in split_sentences(document) if piece in three]


def test_textrank_of_ties_and_of_short_documents() -> None:
    model = TextRank().fit(["a b c d"])
    assert model.summarize("Same words. Same words. Same words.", 2) == "Same words. Same words."
    assert model.summarize("Aa bb. Cc dd. Ee ff.", 1) == "Aa bb."  # nothing in common: the first
    assert model.summarize("Only one.", 3) == "Only one."
    assert model.summarize("", 1) == ""
    with pytest.raises(DataError):
        TextRank().fit(["", " "])


# ---------------------------------------------------------------- question answering

NAMES = ["Ann", "Bob", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana"]
CITIES = ["Rome", "Oslo", "Lima", "Bonn", "Cairo", "Paris", "Delhi", "Quito"]


def people() -> tuple[list[str], list[str], list[dict[str, list[Any]]]]:
    questions, contexts, answers = [], [], []
    for place, (name, city) in enumerate(zip(NAMES, CITIES, strict=True)):
        year = str(1900 + place)
        context = f"The weather was fine. {name} was born in {city} in {year}. Nobody knows more."
        for question, answer in (
            (f"Where was {name} born?", city),
            (f"When was {name} born?", year),
            (f"Who was born in {city}?", name),
        ):
            questions.append(question)
            contexts.append(context)
            answers.append({"text": [answer], "answer_start": [context.index(answer)]})
    return questions, contexts, answers


def test_spans_are_found_where_they_stand() -> None:
    model = SpanBaseline().fit(*people())
    context = "It was cold and dark. Zoe was born in Kyoto in 1987. The end."
    spans = model.predict(["Where was Zoe born?", "When was Zoe born?", "Who was born in Kyoto?"], [context] * 3)
    assert [span.text for span in spans] == ["Kyoto", "1987", "Zoe"]
    assert all(context[span.start : span.start + len(span.text)] == span.text for span in spans)
    assert model.threshold == -math.inf


def test_spans_in_chinese() -> None:
    pairs = [("小明", "北京"), ("小红", "上海"), ("小李", "广州"), ("小王", "深圳"), ("小张", "南京")]
    contexts = [f"天气很好。{name}在{city}出生。大家都知道。" for name, city in pairs]
    questions = [f"{name}在哪里出生？" for name, _ in pairs]
    answers = [{"text": [city], "answer_start": [c.index(city)]} for c, (_, city) in zip(contexts, pairs, strict=True)]
    span = (
        SpanBaseline()
        .fit(questions, contexts, answers)
        .predict(["小赵在哪里出生？"], ["今天下雨。小赵在天津出生。"])[0]
    )
    assert span[:2] == ("天津", 8)


def test_spans_of_empty_contexts_and_of_one_word() -> None:
    model = SpanBaseline().fit(*people())
    empty, single = model.predict(["Who?", ""], ["", "Word"])
    assert empty == Span("", 0, -math.inf)
    assert single[:2] == ("Word", 0) and math.isfinite(single.score)
    with pytest.raises(DataError, match="answer_start"):
        SpanBaseline().fit(["Who?"], ["Ann sang."], [{"text": ["nn"], "answer_start": [1]}])


def test_rows_without_answers_set_a_threshold() -> None:
    questions, contexts, answers = people()
    strange = [f"How many moons has planet {name}?" for name in NAMES]
    rows = [*zip(questions, contexts, answers, strict=True)]
    rows += [
        (question, contexts[3 * place], {"text": [], "answer_start": []}) for place, question in enumerate(strange)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    model = SpanBaseline().fit(*zip(*(rows[place] for place in order), strict=True))
    known, unknown = model.predict(
        ["Where was Zoe born?", "How many moons has planet Zoe?"], ["Fine weather. Zoe was born in Kyoto in 1987."] * 2
    )
    assert known.text == "Kyoto"
    assert unknown.score < model.threshold <= known.score


def test_threshold_and_f1_by_hand() -> None:
    spans = [Span("a", 0, 1.0), Span("b", 0, 2.0), Span("c d", 0, 3.0), Span("e", 0, 4.0)]
    assert best_threshold(spans, [[], [], ["c"], ["e"]]) == 3.0
    assert best_threshold(spans, [["a"], ["b"], ["c"], ["e"]]) == -math.inf
    assert best_threshold(spans, [[], [], [], []]) == math.inf
    assert word_f1("the red Rose", ["red rose", "blue"]) == pytest.approx(0.8)
    assert word_f1("", ["x"]) == word_f1("y", ["x"]) == 0


# ---------------------------------------------------------------- tagging


def test_the_commonest_tag_of_a_word_or_of_all() -> None:
    model = MostFrequentTag().fit([["a", "b", "a"], ["a", "c"]], [["X", "Y", "Z"], ["X", "Y"]])
    assert model.predict([["a", "b", "new"], []]) == [["X", "Y", "X"], []]  # X and Z tie in none, X and Y over all
    assert MostFrequentTag().fit([["a", "a"]], [["Z", "Y"]]).predict([["a"]]) == [["Y"]]


def test_tagger_learns_a_suffix_for_words_it_never_saw() -> None:
    stems = ["walk", "sing", "jump", "cook", "read", "play"]
    endings = {"ing": "ING", "ed": "ED", "": "BASE"}
    sentences = [[stem + ending] for stem in stems for ending in endings]
    model = LinearTagger().fit(sentences, [[tag] for _ in stems for tag in endings.values()])
    assert model.predict([["painted"], ["mending"], ["boil"]]) == [["ED"], ["ING"], ["BASE"]]


def test_tagger_learns_from_neighbours_and_from_tags_in_a_row() -> None:
    sentences = [["in", name, "Town"] for name in NAMES] + [["with", name, "today"] for name in NAMES]
    tags = [["O", "B-LOC", "I-LOC"]] * 8 + [["O", "B-PER", "O"]] * 8
    model = LinearTagger().fit(sentences, tags)
    assert model.predict([["in", "Zed", "Town"], ["with", "Zed", "today"]]) == [tags[0], tags[-1]]


def test_tagger_reads_single_han_characters() -> None:
    names = ["王明", "李红", "张伟", "赵云", "刘洋"]
    sentences = [list(f"我叫{name}。") for name in names] + [list(f"去{place}玩") for place in ("北京", "上海", "南京")]
    tags = [["O", "O", "B", "I", "O"]] * 5 + [["O"] * 4] * 3
    model = LinearTagger().fit(sentences, tags)
    assert model.predict([list("我叫陈静。"), list("去天津玩")]) == [tags[0], tags[-1]]


def test_viterbi_against_every_path() -> None:
    generator = np.random.default_rng(0)
    scores, first, following = generator.normal(size=(4, 3)), generator.normal(size=3), generator.normal(size=(3, 3))
    paths = np.array(np.meshgrid(*[range(3)] * 4)).reshape(4, -1).T
    totals = (
        first[paths[:, 0]] + scores[range(4), paths].sum(axis=1) + following[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    )
    assert viterbi(scores, first, following) == paths[totals.argmax()].tolist()
    assert viterbi(np.zeros((0, 3)), first, following) == []


@pytest.mark.parametrize("model", [MostFrequentTag, LinearTagger])
def test_taggers_of_one_tag_one_row_and_no_token(model: Any) -> None:
    assert model().fit([["a"]], [["O"]]).predict([["b", "a"], []]) == [["O", "O"], []]
    assert model().fit([[], ["a", "b"]], [[], ["O", "O"]]).predict([]) == []
    with pytest.raises(DataError, match="no"):
        model().fit([[]], [[]])
    with pytest.raises(DataError, match="Row 1 has 1 tokens and 2 tags"):
        model().fit([["a"], ["b"]], [["O"], ["O", "O"]])


def test_tagger_learns_from_at_most_as_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "TOKENS", 4)
    model = LinearTagger().fit(
        [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]], [["X", "Y"], ["V", "W"], ["V", "W"], ["X", "Y"]]
    )
    assert model.tags == ["X", "Y"]  # the first row and the last


# ---------------------------------------------------------------- translation


def test_ibm_model_1_learns_a_dictionary() -> None:
    sources = ["the house", "the book", "a book", "a house", "green house"]
    targets = ["das Haus", "das Buch", "ein Buch", "ein Haus", "grünes Haus"]
    model = IbmModel1().fit(sources, targets)
    assert model.translate("The green book , Berlin") == "das grünes Buch, Berlin"
    assert copy_source("as it is") == "as it is"


def test_one_step_of_ibm_model_1_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "ITERATIONS", 1)
    # Each target word is shared evenly by the null word and those of its source: x is 1/3 + 1/2 to a, y 1/3 to a and b.
    assert IbmModel1().fit(["a b", "a"], ["x y", "x"]).table == {"a": ["x"], "b": ["x"]}


def test_ibm_model_1_drops_and_doubles_words() -> None:
    nouns = {"teacher": "老师", "student": "学生", "friend": "朋友", "doctor": "医生"}
    sources = [*nouns, *(f"the {noun}" for noun in nouns)]
    model = IbmModel1().fit(sources, [*nouns.values()] * 2)
    assert model.translate("the teacher") == "老师"
    assert model.table["the"] == []


def test_ibm_model_1_of_one_pair_and_of_empty_ones() -> None:
    assert IbmModel1().fit(["hello", ""], ["你好", "x"]).translate("") == ""
    for pairs in ([], [("", "x")], [("x", " ")]):
        with pytest.raises(DataError):
            IbmModel1().fit([left for left, _ in pairs], [right for _, right in pairs])


# ---------------------------------------------------------------- multiple choice and retrieval


def test_position_shares_by_hand() -> None:
    assert position_shares([0, 2, 2, 1]).tolist() == [0.25, 0.25, 0.5]


def test_chooser_prefers_the_choice_that_shares_words() -> None:
    things = ["cat", "sea", "book", "bird", "tea", "house", "rain", "shoe"]
    prompts = [f"something about the {thing}" for thing in things]
    choices = [[f"one {things[place - 1]}", f"one {thing}", "none"] for place, thing in enumerate(things)]
    model = TfidfChooser().fit(prompts, choices, [1] * 8)
    first, second = model.predict_proba(
        ["something about milk", "关于牛奶"], [["one milk", "one tree"], ["牛奶", "树", "云"]]
    )
    assert first.argmax() == 0 and second.argmax() == 0
    assert first.sum() == pytest.approx(1) and second.sum() == pytest.approx(1)


def test_chooser_of_equal_choices_is_undecided() -> None:
    model = TfidfChooser().fit(["p"], [["a", "b"]], [0])
    assert model.predict_proba(["p"], [["a", "a"]])[0] == pytest.approx([0.5, 0.5])
    assert model.predict_proba([], []) == []
    with pytest.raises(DataError, match="two choices"):
        TfidfChooser().fit(["p"], [["a"]], [0])


def test_nearest_answer() -> None:
    model = NearestAnswer().fit(
        ["How old are you?", "Where do you live?", "你叫什么名字？"], ["Ten.", "Here.", "小明。"]
    )
    assert model.predict(["where does she live", "How old is he", "他叫什么？", "zzz", ""]) == [
        "Here.",
        "Ten.",
        "小明。",
        "Ten.",  # nothing in common: the first
        "Ten.",
    ]
    assert model.predict([]) == []
    with pytest.raises(DataError, match="2 prompts and 1 answers"):
        NearestAnswer().fit(["a", "b"], ["x"])
    with pytest.raises(DataError):
        NearestAnswer().fit([""], ["x"])


# ---------------------------------------------------------------- the same again

SENTENCES = [["in", name, city] for name, city in zip(NAMES, CITIES, strict=True)]
ASKED = (["Where was Zoe born?"], ["Zoe was born in Kyoto in 1987."])


@pytest.mark.parametrize(
    "found",
    [
        lambda: TfidfClassifier(2).fit(TEXTS, LABELS).predict_proba(TEXTS).tolist(),
        lambda: TfidfRegressor().fit(TEXTS, LABELS).predict(TEXTS).tolist(),
        lambda: SpanBaseline().fit(*people()).predict(*ASKED),
        lambda: LinearTagger().fit(SENTENCES, [["O", "P", "C"]] * 8).weights_FT.tolist(),
        lambda: IbmModel1().fit(["a b", "a"], ["x y", "x"]).table,
        lambda: TfidfChooser().fit(["p q"], [["a", "p"]], [1]).predict_proba(["p"], [["p", "a"]])[0].tolist(),
    ],
)
def test_the_same_rows_give_the_same_model(found: Callable[[], Any]) -> None:
    assert found() == found()
