"""A suite from start to end: tasks are read, run for every seed, judged, and told in one table as they complete."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.checking import attempt, checking, end_check
from pipelines.data.preflight import rows_findings
from pipelines.environment import environment
from pipelines.errors import ConfigError
from pipelines.report import finish_run
from pipelines.reporting.suite import suite_markdown
from pipelines.run import say
from pipelines.run_folder import RunFolder, claim_run_folder, find_run_folder, report_if_finished, write_run_files
from pipelines.suites.contamination import check_corpus, search_corpus
from pipelines.suites.definition import Suite, choose_tasks, load_suite
from pipelines.suites.entries import Entry, read_entries
from pipelines.suites.judging import judge
from pipelines.suites.submission import write_submission
from pipelines.suites.table import Table
from pipelines.suites.workers import claimed, helpers, share_of_machine
from pipelines.training.steps import start_processes

if TYPE_CHECKING:
    from accelerate import PartialState


class Method(Protocol):
    """How the model comes to say something of the rows of a task."""

    def order(self, entries: list[Entry]) -> list[Entry]:
        """The entries to run, in their order; what is not among them is predicted on the way."""
        ...

    def run(self, entry: Entry, seed: int) -> None:
        """Keeps predictions and figures of a seed in its folder, unless they are there."""
        ...

    def keep_best(self, entry: Entry, seed: int) -> None:
        """Called with the best seed when all are done."""
        ...


def evaluate_suite(config: Any, recipe: str) -> None:
    """Scores a model on a suite, and reports.

    Args:
        config: the resolved config: run, data, tokenizer, model, lora, training, evaluation.
        recipe: path of the recipe.

    Raises:
        PlumblineError: a mistake in config or data, told before the first task.
        Interrupted: stopped by SIGTERM or Ctrl-C; the same command goes on where it stopped.
    """
    suite = load_suite(config.evaluation.suite)
    _check(config, suite)
    folder = attempt(find_run_folder, config, recipe, otherwise=RunFolder(Path("runs")))
    if checking() is None and report_if_finished(folder, config):
        return
    check_corpus(config)
    run = _start(config, suite, folder)
    if (check := checking()) is not None:
        for entry in run.entries:
            labelled = {split: entry.data.splits[split] for split in entry.data.labelled}
            rows_findings(check, labelled, entry.task, entry.data.receipt, True, f"{entry.name} ")
        end_check()
    if run.state.is_main_process:
        claim_run_folder(folder, clear=config.run.overwrite)
        facts = {entry.name: _facts(suite, entry) for entry in run.entries}
        known = _known_facts(folder, facts)
        receipts = {entry.name: entry.data.receipt for entry in run.entries}
        write_run_files(folder, config, environment=environment(known | facts), receipts=receipts)
    run.state.wait_for_everyone()
    corpora, contamination = search_corpus(config, run.entries) if run.state.is_main_process else ([], {})
    table = Table(suite, run.skipped, corpora, config.evaluation.method)

    def judge_done(entry: Entry) -> None:
        """Adds the rows of a task whose seeds are all done, and of its diagnostic sets."""
        for one in [entry, *(other for other in run.entries if other.spec.model_of == entry.name)]:
            if one.split is not None and one.name not in table.rows and all(map(one.is_done, run.seeds)):
                row = judge(one, run.seeds, config.evaluation, config.training.seed, contamination.get(one.name))
                table.add(one.name, row)
                folder.write_json("suite.json", table.as_dict())
                if one is entry:
                    run.method.keep_best(entry, row.best_seed)

    first = [entry for entry in run.ordered if entry.name == config.evaluation.warm_start]  # what others start from
    for entries, beside in ((first, False), (run.ordered, True), (run.ordered, False)):
        # The second time alone, for seeds that a helper was at, and did not finish if it failed.
        with helpers(_help, config, recipe, folder.path) if beside else nullcontext():
            for entry in _work(run, entries):
                if run.state.is_main_process:
                    judge_done(entry)
                run.state.wait_for_everyone()
    if run.state.is_main_process:
        _finish(folder, config, suite, run.entries, table, run.method)


@dataclass(frozen=True)
class _Run:
    """What a process of a run knows: tasks with their rows, in the order of work, and how they are predicted."""

    suite: Suite
    state: "PartialState"
    entries: list[Entry]
    skipped: dict[str, str]
    method: Method
    ordered: list[Entry]
    seeds: list[int]


def _start(config: Any, suite: Suite, folder: RunFolder) -> _Run:
    config = share_of_machine(config)
    state = start_processes(config.run, config.training)
    if state.num_processes > 1 and config.evaluation.workers > 1:
        raise ConfigError("evaluation.workers is for a run of one process: leave it out, or the launcher's processes.")
    with state.main_process_first():
        entries, skipped = read_entries(suite, choose_tasks(suite, config.evaluation.tasks), config, folder.path)
    method = _method(config, suite, entries, state)
    return _Run(suite, state, entries, skipped, method, method.order(entries), _seeds(config))


def _work(run: _Run, entries: list[Entry]) -> Iterator[Entry]:
    """Runs the seeds of tasks that no other worker is at, and yields each task behind its own."""
    for entry in entries:
        for number, seed in enumerate(run.seeds, start=1):
            with claimed(entry, seed) if run.state.num_processes == 1 else nullcontext(True) as is_mine:
                if is_mine:
                    if not entry.is_done(seed):
                        say(f"\n{run.suite.name}: {entry.name}, seed {seed} ({number} of {len(run.seeds)})")
                    run.method.run(entry, seed)
        yield entry


def _help(config: Any, recipe: str) -> None:
    """What a helper does: the seeds that no other worker is at."""
    run = _start(config, load_suite(config.evaluation.suite), find_run_folder(config, recipe))
    for _ in _work(run, run.ordered):
        pass


def _facts(suite: Suite, entry: Entry) -> dict[str, str]:
    """What the predictions of a task follow from besides the config: its rows, and what the suite states of it."""
    told = json.dumps([dataclasses.asdict(entry.spec), suite.training], sort_keys=True)
    return entry.data.hashes | {"settings": hashlib.sha256(told.encode()).hexdigest()[:32]}


def _known_facts(folder: RunFolder, facts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Those of the tasks of this run so far.

    Raises:
        ConfigError: those of a task were others.
    """
    if not (folder.path / "environment.json").is_file():
        return {}
    known: dict[str, Any] = folder.read_json("environment.json", "data")["data"]
    for name, now in facts.items():
        changed = [key for key, value in now.items() if known.get(name, {}).get(key, value) != value]
        if changed:
            what = "settings" if changed == ["settings"] else f"{changed[0]} rows"
            raise ConfigError(
                f"The {what} of {name} have changed since the run in {folder.path} was started. Restore them, name "
                "another folder with --run.dir, or start anew with --run.overwrite true."
            )
    return known


def _seeds(config: Any) -> list[int]:
    """The seeds of the runs: a saved model, or questions without examples, say the same with each."""
    evaluation, first = config.evaluation, config.training.seed
    is_fixed = evaluation.method == "saved" or (evaluation.method == "likelihood" and not evaluation.num_fewshot)
    return [first] if is_fixed else list(range(first, first + evaluation.seeds))


def _check(config: Any, suite: Suite) -> None:
    """Raises ConfigError for a setting that has no effect, or none that could be meant, before anything is read."""
    evaluation, model = config.evaluation, config.model
    for key, value, belongs in (
        ("evaluation.warm_start", evaluation.warm_start, "finetune"),
        ("evaluation.save_models", evaluation.save_models, "finetune"),
        ("evaluation.workers", evaluation.workers > 1, "finetune"),
        ("lora.r", config.lora.r, "finetune"),
        ("tokenizer.vocab_size", config.tokenizer.vocab_size, "finetune"),
        ("evaluation.num_fewshot", evaluation.num_fewshot, "likelihood"),
        ("evaluation.harness_tasks", evaluation.harness_tasks, "likelihood"),
    ):
        if value and evaluation.method != belongs:
            raise ConfigError(f"{key} is for --evaluation.method {belongs}, found {evaluation.method}.")
    if evaluation.method != "finetune" and model.name is None:
        raise ConfigError(
            f"--evaluation.method {evaluation.method} scores a model as it is: name it with --model.name."
        )
    if evaluation.harness_path and not evaluation.harness_tasks:
        raise ConfigError("evaluation.harness_path is for evaluation.harness_tasks, of which none is named.")
    if evaluation.max_rows and evaluation.submission:
        raise ConfigError("A submission needs every row: leave evaluation.max_rows out.")
    warm = evaluation.warm_start
    if warm is not None and not any(task.warm_start for task in suite.tasks.values()):
        raise ConfigError(f"evaluation.warm_start is {warm!r}, but no task of {suite.name} takes one.")
    if warm == "mnli" and "mnli" not in choose_tasks(suite, evaluation.tasks):
        raise ConfigError("evaluation.warm_start is mnli, which is not among the tasks. Name a model tuned on MNLI.")


def _method(config: Any, suite: Suite, entries: list[Entry], state: "PartialState") -> Method:
    if config.evaluation.method == "finetune":
        from pipelines.suites.finetuned import FineTuning

        return FineTuning(config, suite, entries, state)
    if config.evaluation.method == "saved":
        from pipelines.suites.given import SavedModel

        return SavedModel(config, state)
    from pipelines.suites.given import Decoder

    return Decoder(config, state, entries)


def _finish(folder: RunFolder, config: Any, suite: Suite, entries: list[Entry], table: Table, method: Method) -> None:
    if config.evaluation.harness_tasks:
        from pipelines.suites.given import Decoder, harness_rows

        assert isinstance(method, Decoder)  # as `_method` has made sure
        for name, row in harness_rows(config, method).items():
            table.add(name, row)
        folder.write_json("suite.json", table.as_dict())
    if config.evaluation.submission:
        seeds = {name: row.best_seed for name, row in table.rows.items()}
        write_submission(folder.path / "submission.zip", suite, entries, seeds, config.training.seed)
    folder.write_text("suite.md", suite_markdown(table.as_dict()))
    say("\n" + table.as_text())
    finish_run(folder, table.metrics())
