"""YAML files and dotted flags -> one resolved, typed config.

Layers, later ones win: the defaults of pipelines/sections.py, then the files given by `--config` (or
recipes/configs/<recipe>/default.yaml when none is given), then flags.
"""

import ast
import dataclasses
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from pipelines.errors import ConfigError, did_you_mean
from pipelines.sections import RANGES

ConfigT = TypeVar("ConfigT")

# Stating one of these keys unsets the others where an earlier layer stated them, so that
# `--data.files.train my.txt` replaces the data card of default.yaml. Two in one layer are an error.
ALTERNATIVES = (
    ("data.card", "data.name", "data.files"),
    ("model.preset", "model.name", "model.config"),
    ("tokenizer.name", "tokenizer.vocab_size"),
    ("model.name", "tokenizer.vocab_size"),  # a checkpoint brings its own tokenizer
)
# Stating the first key unsets the second where an earlier layer stated it: it was meant for the earlier value.
DEPENDENTS = (("training.lr_scheduler_type", "training.lr_scheduler_kwargs"),)


def parse_config(config_class: type[ConfigT], recipe: str, argv: list[str] | None = None) -> ConfigT:
    """The resolved config of a recipe.

    Args:
        config_class: dataclass whose fields are sections (dataclasses of pipelines/sections.py).
        recipe: path of the recipe script; its stem names the folder of its committed configs.
        argv: command line without the program name; default sys.argv[1:].

    Raises:
        ConfigError: unknown, repeated or ill-typed key, unreadable file, or two alternatives at once.
        SystemExit: after --help or --print_config.
    """
    argv = sys.argv[1:] if argv is None else argv
    config_dir = Path(recipe).resolve().parent / "configs" / Path(recipe).stem
    parser, sections = _build_parser(config_class, recipe)
    flags, files = _split_config_files(argv)
    print_config = "--print_config" in flags
    flags = [
        flag for flag in flags if flag != "--print_config"
    ]  # jsonargparse has one of its own that needs a config file
    known = set(_leaf_keys(config_class))

    layers = [_read_yaml(path, known, parser, config_dir) for path in files or _existing(config_dir / "default.yaml")]
    layers.append(_flag_layer(flags, known))
    merged: dict[str, Any] = {}
    for layer in layers[:-1]:
        _merge(merged, layer, known)
    _drop_alternatives(merged, layers[-1])
    base = _parse(lambda: parser.parse_object(merged), "the config files")
    namespace = _parse(lambda: parser.parse_args(flags, namespace=base), "the command line")
    for group in ALTERNATIVES:
        _refuse_two(group, dict(_flatten(namespace.as_dict(), known)), "the command line")

    if print_config:
        print(yaml.safe_dump(_plain(namespace, sections), sort_keys=False, allow_unicode=True), end="")
        raise SystemExit(0)
    instances = parser.instantiate(namespace)
    config = config_class(**{name: instances[name] for name in sections})
    _check_ranges(config)
    _check_training_extra(config)
    return config


def config_to_dict(config: Any) -> dict[str, Any]:
    """The resolved config as plain values, without run.dir and run.overwrite: `--config` of it starts a new folder."""
    values = dataclasses.asdict(config)
    for name in ("dir", "overwrite"):
        values["run"].pop(name)
    return values


def config_to_yaml(config: Any) -> str:
    """The resolved config as YAML that `--config` reads back to the same config."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True)


def default_run_name(argv: list[str] | None = None) -> str:
    """Stem of the last --config file, or `default`."""
    _, files = _split_config_files(sys.argv[1:] if argv is None else argv)
    return files[-1].stem if files else "default"


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of nested maps, down to the leaves."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, dotted + ".")
        else:
            yield dotted, value


# ---------------------------------------------------------------- parser


def _build_parser(config_class: type, recipe: str) -> tuple[ArgumentParser, list[str]]:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    name = Path(recipe).stem
    description = (sys.modules[config_class.__module__].__doc__ or "").strip().split("\n")[0]
    usage = f"{name}.py [--config FILE ...] [--SECTION.KEY VALUE ...]"
    parser = ArgumentParser(prog=f"{name}.py", usage=usage, description=description, exit_on_error=False)
    parser.add_argument("--config", action="append", metavar="FILE", help="YAML file; may be repeated, later wins.")
    parser.add_argument("--print_config", action="store_true", help="Print the whole resolved config and exit.")
    sections = []
    for section, section_class in get_type_hints(config_class).items():
        parser.add_class_arguments(section_class, section)
        sections.append(section)
    return parser, sections


def _parse(parse: Any, source: str) -> Namespace:
    try:
        return parse()
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises argparse.ArgumentError, TypeError and ValueError alike
        raise ConfigError(f"{_capitalized(source)}: {_plain_message(str(error))}") from None


def _plain_message(message: str) -> str:
    """jsonargparse's message in one line: `"training.max_steps": expected int or null, got 'ten'`."""
    message = re.sub(r"<class '(\w+)'>", r"\1", message.replace("Parser key ", "").replace("typing.", ""))
    message = message.replace("NoneType", "null")
    union = re.search(r'^(".*?"):.*Subtypes: \[(.*?)\]\n.*Given value: (.*?)$', message, flags=re.DOTALL)
    if union:
        key, types, value = union.groups()
        return f"{key}: expected {types.replace(', ', ' or ')}, got {value!r}."
    single = re.search(r'^(".*?"):\s*Expected an? (.*?)\. Got value: (.*)$', message, flags=re.DOTALL)
    if single:
        key, types, value = single.groups()
        return f"{key}: expected {types}, got {value!r}."
    return " ".join(message.split())


def _plain(namespace: Namespace, sections: list[str]) -> dict[str, Any]:
    values = namespace.as_dict()
    return {section: values[section] for section in sections}


def _capitalized(source: str) -> str:
    return source[0].upper() + source[1:] if source.startswith("the ") else source


def _leaf_keys(config_class: Any, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(config_class).items():
        if dataclasses.is_dataclass(hint):
            yield from _leaf_keys(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


# ---------------------------------------------------------------- YAML files


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys and reads 3e-4 as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float):
                raise ConfigError(f"{node.start_mark.name}, line {line}: a key must be a word, found {key!r}.")
            if key in seen:
                raise ConfigError(
                    f"{node.start_mark.name}: key {key!r} stands twice, in lines {seen[key]} and {line}. Keep one."
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.\d*([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+([eE][-+]?\d+)?|\.inf|\.nan)$"),
    list("-+0123456789."),
)


def _existing(path: Path) -> list[Path]:
    return [path] if path.is_file() else []


def _read_yaml(path: Path, known: set[str], parser: ArgumentParser, config_dir: Path) -> dict[str, Any]:
    if not path.is_file():
        committed = sorted(config_dir.glob("*.yaml"))
        hint = did_you_mean(path.name, [file.name for file in committed])
        raise ConfigError(f"There is no config file {path}.{hint} Committed configs are in {config_dir}.")
    try:
        with path.open(encoding="utf-8") as stream:
            loader = _Loader(stream)
            loader.name = str(path)
            values = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must hold a map of sections such as 'training:'. It holds a {type(values).__name__}."
        )
    for key, value in _flatten(values, known):
        _refuse_unknown(key, known, str(path))
        section = key.split(".")[0]
        if key == section:
            raise ConfigError(f"{path}: '{section}' is a section and must hold a map, not {value!r}.")
    _parse(lambda: parser.parse_object(values), str(path))
    for group in ALTERNATIVES:
        _refuse_two(group, dict(_flatten(values, known)), str(path))
    return values


def _flatten(values: Mapping[str, Any], known: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Like `flatten`, but a map that is itself the value of a known key stays whole."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and dotted not in known and value:
            yield from _flatten(value, known, dotted + ".")
        else:
            yield dotted, value


def _merge(into: dict[str, Any], layer: Mapping[str, Any], known: set[str]) -> None:
    _drop_alternatives(into, dict(_flatten(layer, known)))
    for key, value in _flatten(layer, known):
        *parents, leaf = key.split(".")
        target = into
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = value


# ---------------------------------------------------------------- flags


def _split_config_files(argv: list[str]) -> tuple[list[str], list[Path]]:
    """The flags without --config, and the files that --config names."""
    flags: list[str] = []
    files: list[Path] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--config":
            value = next(rest, None)
            if value is None:
                raise ConfigError("--config needs the path of a YAML file.")
            files.append(Path(value))
        elif argument.startswith("--config="):
            files.append(Path(argument.removeprefix("--config=")))
        else:
            flags.append(argument)
    return flags, files


def _flag_layer(flags: list[str], known: set[str]) -> dict[str, Any]:
    """Keys that the flags state, each refused if unknown; values stay with the parser, which knows the types."""
    stated = {}
    maps = {
        key
        for key in known
        if key in ("data.columns", "model.config", "training.extra", "training.lr_scheduler_kwargs")
    }
    for position, flag in enumerate(flags):
        if not flag.startswith("--"):
            continue
        key, separator, value = flag[2:].partition("=")
        if key == "help":
            continue
        key = next((name for name in maps if key.startswith(name + ".")), key)
        _refuse_unknown(key, known, "The command line")
        if key not in known:
            example = min(name for name in known if name.startswith(f"{key}."))
            raise ConfigError(f"The command line: {key!r} is a section. Set its keys one by one, such as --{example}.")
        following = flags[position + 1] if position + 1 < len(flags) else None
        stated[key] = None if (value if separator else following) == "null" else flag
    return stated


def _refuse_unknown(key: str, known: set[str], source: str) -> None:
    if key in known or any(name.startswith(key + ".") for name in known):
        return
    if key.startswith("training."):
        name = key.removeprefix("training.").split(".")[0]
        if name in training_argument_names():
            raise ConfigError(
                f"{source}: {key!r} is a field of transformers.TrainingArguments that goes into training.extra. "
                f"Write: --training.extra.{name} VALUE"
            )
    sections = {name.split(".")[0] for name in known}
    section = key.split(".")[0]
    if section not in sections:
        raise ConfigError(
            f"{source}: unknown section {section!r}.{did_you_mean(section, sections)} `--help` lists all."
        )
    hint = did_you_mean(key, known) or did_you_mean(key.split(".")[-1], {name.split(".")[-1] for name in known})
    raise ConfigError(f"{source}: unknown key {key!r}.{hint} `--print_config` lists every key.")


def training_argument_names() -> set[str]:
    """Field names of the installed transformers.TrainingArguments, read from its source: importing takes seconds."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("transformers is not installed. Run: pip install -c requirements.lock -e .")
    source = Path(spec.submodule_search_locations[0]) / "training_args.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            return {
                statement.target.id
                for statement in node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            }
    raise ConfigError(f"{source} holds no class TrainingArguments: this transformers version is not supported.")


# ---------------------------------------------------------------- rules between keys


def _drop_alternatives(merged: dict[str, Any], stated: Mapping[str, Any]) -> None:
    """Unsets, in earlier layers, the alternatives to what a later layer states."""
    for group in ALTERNATIVES:
        chosen = {member for member in group if _states(stated, member)}
        for member in set(group) - chosen if chosen else ():
            _unset(merged, member)
    for key, dependent in DEPENDENTS:
        if _states(stated, key):
            _unset(merged, dependent)


def _unset(merged: dict[str, Any], key: str) -> None:
    section, name = key.split(".")
    merged.get(section, {}).pop(name, None)


def _states(values: Mapping[str, Any], member: str) -> bool:
    return any(value is not None and (key == member or key.startswith(member + ".")) for key, value in values.items())


def _refuse_two(group: tuple[str, ...], values: Mapping[str, Any], source: str) -> None:
    chosen = [member for member in group if _states(values, member)]
    if len(chosen) > 1:
        raise ConfigError(
            f"{_capitalized(source)} states {' and '.join(chosen)}: they exclude each other. "
            "Keep one, set the others to null."
        )


_EVALUATION = "evaluation is Plumbline's own and keeps no logits"
_PUBLISHING = "runs are not pushed while they train; upload the model folder with `hf upload`"
# Fields of TrainingArguments that Plumbline sets itself or makes meaningless, and why or where its own setting is.
OWNED_FIELDS = {
    "output_dir": "it is the run folder: --run.dir",
    "use_cpu": "the recipe sees whether there is a GPU",
    "remove_unused_columns": "batches are made by Plumbline's own collators",
    "label_smoothing_factor": "the loss is the exact negative log-likelihood",
    "use_liger_kernel": "the loss is Plumbline's own",
    "average_tokens_across_devices": "the loss always is",
    "load_best_model_at_end": "the final weights are evaluated and saved",
    "metric_for_best_model": "the final weights are evaluated and saved",
    "greater_is_better": "the final weights are evaluated and saved",
    "resume_from_checkpoint": "the same command resumes by itself",
    "ignore_data_skip": "it would train twice on the same blocks",
    "dataloader_drop_last": "no block is dropped",
    "train_sampling_strategy": "the order is drawn from training.seed",
    "length_column_name": "the order is drawn from training.seed",
    "data_seed": "the order is drawn from training.seed",
    "auto_find_batch_size": "it would change the batch in the middle of a run",
    "save_strategy": "checkpoints are set by training.save_steps",
    "save_only_model": "the run could not be resumed",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "disable_tqdm": "the progress bar shows on a terminal and nowhere else",
    "full_determinism": "resume is bitwise exact without it",
    "gradient_checkpointing": "it is --training.activation_checkpointing",
    "fp16": "use training.bf16",
    "bf16_full_eval": "evaluation has the precision of training",
    "fp16_full_eval": "evaluation has the precision of training",
    "prediction_loss_only": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "push_to_hub": _PUBLISHING,
    "hub_model_id": _PUBLISHING,
    "hub_strategy": _PUBLISHING,
    "hub_token": "no token belongs into a config; log in with `hf auth login` or set HF_TOKEN",
    "accelerator_config": "batches are split by Plumbline's own order",
    "enable_jit_checkpoint": "SIGTERM always writes a checkpoint",
    "ddp_timeout": "processes wait two hours for each other",
    "parallelism_config": "only data parallelism is supported",
    "deepspeed": "use an accelerate config file",
    "fsdp": "use an accelerate config file",
    "fsdp_config": "use an accelerate config file",
}


def _check_ranges(config: Any) -> None:
    for key, value in flatten(dataclasses.asdict(config)):
        low, high = RANGES.get(key, (None, None))
        if value is None or not isinstance(value, int | float):
            continue
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            limits = [
                f"{word} {limit:g}" for word, limit in (("at least", low), ("at most", high)) if limit is not None
            ]
            raise ConfigError(f"{key} must be {' and '.join(limits) or 'a number'}; found {value}.")


def _check_training_extra(config: Any) -> None:
    extra = config.training.extra if hasattr(config, "training") else {}
    curated = {field.name for field in dataclasses.fields(config.training)} if extra else set()
    for name in extra:
        if name in curated:
            raise ConfigError(f"training.extra.{name} has a key of its own: --training.{name}")
        if name in OWNED_FIELDS:
            raise ConfigError(f"training.extra.{name} cannot be set: {OWNED_FIELDS[name]}.")
        if name not in training_argument_names():
            hint = did_you_mean(name, training_argument_names())
            raise ConfigError(f"training.extra.{name} is no field of transformers.TrainingArguments.{hint}")
