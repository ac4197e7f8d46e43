"""The report of small made-up run folders: what it says, what it refuses to say, and that it is one sound HTML page."""

import json
import math
import os
import re
from html.parser import HTMLParser

import pytest

from pipelines.errors import CheckpointError
from pipelines.report import write_report
from pipelines.reporting.ledgers import ledger
from pipelines.reporting.scores import difference_of, verdict
from pipelines.reporting.words import NO_BREAK, number, quantity

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
METRICS = {
    "eval_loss": 4.0,
    "eval_perplexity": math.exp(4.0),
    "eval_bits_per_byte": 1.73,
    "eval_tokens": 1_200,
    "eval_bytes": 4_000,
    "eval_seconds": 1.5,
    "train_tokens_per_second": 2_000.0,
    "train_mfu": 0.25,
    "train_seconds": 75.0,
    "train_steps": 30,
    "train_tokens": 61_440,
    "baseline_kneser_ney_5gram_loss": 4.16,
    "baseline_kneser_ney_5gram_bits_per_byte": 1.8,
    "baseline_kneser_ney_5gram_tokens": 1_200,
    "baseline_kneser_ney_5gram_bytes": 4_000,
}
RECEIPT = {
    "train": {
        "rows": {"rows_read": 12_345, "rows_dropped": {"empty": 45}, "moved_to_validation": 300, "rows_kept": 12_000},
        "tokens": {"bos_tokens": 12_000, "eos_tokens": 12_000, "text_tokens": 976_000, "tokens": 1_000_000},
        "blocks": {
            "blocks": 977,
            "positions": 1_000_448,
            "targets": 988_000,
            "document_ends_without_target": 12_000,
            "padding": 448,
        },
    },
    "training": {"rows": 60, "blocks_seen": 60, "blocks_not_seen": 917, "targets_trained": 60_650},
}
SAMPLE = {
    "prompt": "Returns",
    "reference": " the sum.\nRaises",
    "output": " nothing",
    "tokens": [{"token": " the\n", "probability": 0.25, "baseline_probability": 0.125}],
}


def samples_of(*samples):
    titles = ["Prompt", "The document", "The model, sampled", "Next token, likeliest first"]
    return {"note": "Held-out prompts.", "titles": titles, "samples": samples}


def without_baseline(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("baseline_")}


@pytest.fixture
def folder(tmp_path):
    events = [
        event
        for step in range(1, 31)
        for event in (
            {"step": step, "loss": 9 - step / 10, "grad_norm": 1.0, "learning_rate": 1e-3, "tokens_per_second": 2e3},
            {"step": step, "eval_loss": 9 - step / 10, "eval_bits_per_byte": 4 - step / 20, "eval_tokens": 1_200},
        )
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "config.yaml").write_text("model:\n  preset: tiny\ndata:\n  card: some_corpus\n")
    environment = {"command": "python recipes/pretrain_clm.py", "versions": {"torch": "2.13.0"}, "git_commit": "abc123"}
    plan = {
        "parameters": {"total": 5_310_720},
        "flops_per_token": 1e6,
        "matmul_flops_per_second": 8e9,
        "processes": 1,
        "something_new": 17,
    }
    for name, content in [
        ("environment", environment),
        ("plan", plan),
        ("receipt", RECEIPT),
        ("samples", samples_of(SAMPLE)),
    ]:
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


class Page(HTMLParser):
    """Checks nesting, and gathers text, tags and attributes."""

    def __init__(self, source):
        super().__init__()
        self.open, self.words, self.tags, self.attributes = [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def report(folder, metrics=METRICS):
    return Page(write_report(folder, metrics).read_text(encoding="utf-8"))


def test_is_one_page_with_balanced_tags_unique_ids_and_no_outside_resource(folder):
    path = write_report(folder, METRICS)
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert path == folder / "report.html"
    assert not list(folder.glob(".report*"))
    assert "http:" not in source and "https:" not in source and "@import" not in source
    assert not {"script", "link", "img", "iframe", "metadata"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links} <= set(ids)
    assert set(re.findall(r"url\(([^)]*)\)", source)) <= {f"#{name}" for name in ids}
    used, defined = (set(re.findall(pattern, source)) for pattern in (r"var\((--\w+)\)", r"(--\w+):"))
    assert used <= defined
    assert page.tags.count("svg") == 5
    told = [value for name, value in page.attributes if name == "aria-label"]
    assert len(told) == 5 and told[0].startswith("Loss by step: training from 8.9 at step 1 to 6 at step 30;")


def test_equal_input_gives_equal_bytes(folder):
    first = write_report(folder, METRICS).read_bytes()
    assert write_report(folder, METRICS).read_bytes() == first


def test_a_run_in_its_own_words(folder):
    text = report(folder).text
    assert "1.73 bits per byte on held-out text, 3.9 % fewer than a Kneser-Ney 5-gram model trained on" in text
    assert "trained on some_corpus" in text and "5,310,720 parameters" in text
    assert "Kneser-Ney 5-gram" in text and "nats per token" in text
    assert "Something new 17" in text
    assert "python recipes/pretrain_clm.py" in text and "abc123" in text and "preset: tiny" in text
    assert "0.002 TFLOP/s" in text and "25.0 % of 0.008 TFLOP/s" in text.replace("\u00a0", " ")


def test_the_receipt_shows_its_sums(folder):
    text = report(folder).text
    for figures in (
        "Rows read 12,345 − Dropped: empty 45 − Moved to validation 300 = Rows kept 12,000 ✓",
        "Text tokens 976,000 + BOS 12,000 + EOS 12,000 = Tokens 1,000,000 ✓",
        "Targets 988,000 + Document ends 12,000 + Padding 448 = Positions 1,000,448 ✓",
        "Blocks seen 60 + Blocks not seen 917 = Training blocks 977 ✓",
        "Targets trained 60,650",
    ):
        assert figures in text
    assert "✗" not in text


def test_a_receipt_that_does_not_close_says_so(folder):
    broken = json.loads(json.dumps(RECEIPT))
    broken["train"]["tokens"]["bos_tokens"] -= 3
    (folder / "receipt.json").write_text(json.dumps(broken))
    assert "Tokens 1,000,000 ✗ off by −3" in report(folder).text


def test_a_total_without_terms_is_not_ticked():
    assert ledger("Rows", [(1, "Read", [None, 3])], (1, "Kept", [5, 3]))["off"] == [None, 0]


def test_text_of_a_model_is_escaped(folder):
    hostile = "</pre><script>alert(1)</script><img src=http://x onerror=y>\n\ud800\x00&amp;"
    tokens = [{"token": "<b>", "probability": 1e-9, "baseline_probability": None}]
    sample = {"prompt": hostile, "reference": hostile, "output": hostile, "tokens": tokens}
    (folder / "samples.json").write_text(json.dumps(samples_of(sample)))
    page = report(folder)
    assert not {"script", "img", "b"} & set(page.tags)
    assert page.text.count("<script>alert(1)</script>") == 3
    assert "&amp;" in page.text and "< 0.001" in page.text


def test_blanks_are_shown(folder):
    page = report(folder)
    assert "␣the↵" in page.text
    assert " the sum. ↵ Raises" in page.text


def test_better_worse_level_and_nothing_to_compare():
    assert verdict(METRICS)[1] == "better"
    sentence, standing = verdict(METRICS | {"eval_bits_per_byte": 2.34})
    assert standing == "worse"
    assert sentence == (
        "2.34 bits per byte on held-out text, 30 % more than a Kneser-Ney 5-gram model trained on the same tokens "
        "(1.80): the baseline is better."
    )
    sentence, standing = verdict(METRICS | {"eval_bits_per_byte": 1.8001})
    assert standing == "plain" and "1.8001 bits per byte on held-out text, level with" in sentence
    sentence, standing = verdict(without_baseline(METRICS))
    assert standing == "plain"
    assert sentence == "1.73 bits per byte on held-out text; no baseline was scored on the same data."
    assert verdict({"train_steps": 1})[1] == "plain"


def test_scores_on_other_tokens_are_not_compared():
    assert "no baseline" in verdict(METRICS | {"baseline_kneser_ney_5gram_tokens": 1_199})[0]


def test_a_score_that_is_not_finite_is_no_result(folder):
    text = report(folder, METRICS | {"eval_bits_per_byte": math.nan, "eval_loss": math.inf}).text
    assert "no valid result" in text and "not a number 1.8000" in text and "infinite 4.1600" in text
    assert "no baseline" in verdict(METRICS | {"baseline_kneser_ney_5gram_bits_per_byte": math.nan})[0]


def test_the_best_baseline_counts():
    metrics = {"eval_accuracy": 0.9, "baseline_majority_class_accuracy": 0.5, "baseline_bag_of_words_accuracy": 0.93}
    sentence, standing = verdict(metrics)
    assert standing == "worse"
    assert sentence == (
        "0.90 accuracy on held-out data, 0.03 below the baseline bag of words (0.93): the baseline is better."
    )


def test_a_recipe_with_metrics_of_its_own(folder):
    metrics = {
        "eval_accuracy": 0.9125,
        "eval_macro_f1": 0.5,
        "eval_seconds": 1.0,
        "baseline_majority_class_accuracy": 0.5,
        "baseline_majority_class_macro_f1": 0.25,
        "test_calibration_error": 0.031,
    }
    (folder / "metrics.jsonl").write_text('{"step": 1, "eval_accuracy": 0.5}\n{"step": 2, "eval_accuracy": 0.9125}\n')
    page = report(folder, metrics)
    assert "Accuracy 0.9125 0.5000 +0.4125 Macro f1 0.5000 0.2500 +0.2500" in page.text
    assert "Test calibration error 0.031" in page.text
    assert "Bits per byte is" not in page.text
    assert page.tags.count("svg") == 1


def test_no_samples_and_no_baseline(folder):
    (folder / "samples.json").unlink()
    text = report(folder, without_baseline(METRICS)).text
    assert "Samples" not in text and "Kneser" not in text and "Difference" not in text
    sample = {**SAMPLE, "tokens": [{"token": "a", "probability": 0.5, "baseline_probability": None}]}
    (folder / "samples.json").write_text(json.dumps(samples_of(sample)))
    text = report(folder, without_baseline(METRICS)).text
    assert "Next token, likeliest first model a 0.500" in text


def test_a_folder_without_files_still_gives_a_page(tmp_path):
    assert "no held-out score" in report(tmp_path, {}).text


def test_a_torn_last_line_is_left_out_and_a_damaged_file_is_told(folder):
    whole = write_report(folder, METRICS).read_text()
    stamp = (folder / "metrics.jsonl").stat().st_mtime
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 31, "lo')
    os.utime(folder / "metrics.jsonl", (stamp, stamp))
    assert write_report(folder, METRICS).read_text() == whole
    (folder / "plan.json").write_text("{")
    with pytest.raises(CheckpointError, match="plan.json"):
        write_report(folder, METRICS)
    assert (folder / "report.html").read_text() == whole


def test_an_access_token_in_the_command_is_hidden(folder):
    secret = "hf_" + "aB3" * 11
    (folder / "environment.json").write_text(json.dumps({"command": f"HF_TOKEN={secret} python x.py"}))
    assert secret not in write_report(folder, METRICS).read_text()


def test_global_plotting_state_is_left_alone(folder):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_report(folder, METRICS)
    assert dict(matplotlib.rcParams) == before


def test_colours_of_the_page_are_all_that_charts_use(folder):
    source = write_report(folder, METRICS).read_text()
    charts = "".join(re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL))
    assert re.findall(r"(?:fill|stroke): #\w+", charts) == []
    assert "font-family" not in charts


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1,234,567"), (-3, "−3"), (0.00861651, "0.008617"), (12345.678, "12,345.7"), (math.nan, "not a number"),
     (None, "–"), (True, "yes"), (2.0, "2"), ([], "none"), (["a", 2], "a, 2")],
)  # fmt: skip
def test_numbers(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "name", "shown"),
    [(59.94, "train_seconds", "59.9 s"), (75.6, "seconds", "1 min 15 s"), (7384, "seconds", "2 h 3 min"),
     (730894336, "memory_estimate_bytes", "730.9 MB"), (38141952.0, "flops_per_token", "38.1 MFLOP"),
     (12, "x_bytes", "12.0 B"), (4.08e11, "matmul_flops_per_second", "0.408 TFLOP/s"), (5, "steps", "5")],
)  # fmt: skip
def test_quantities(value, name, shown):
    assert quantity(value, name).replace("\u00a0", " ") == shown


def test_what_is_lower_and_better_differs_by_a_share() -> None:
    for metric in ("bits_per_byte", "mse", "hidden_loss", "unknown_rate"):
        assert difference_of(metric, 0.9, 1.0) == f"−10.0{NO_BREAK}%", metric
    assert difference_of("accuracy", 0.9, 1.0) == "−0.1000"
