"""YAML files and dotted flags -> one resolved, typed config.

Layers, later ones win: the defaults of pipelines/sections.py, then the files given by `--config` (or
recipes/configs/<recipe>/default.yaml when none is given), then flags.
"""

import copy
import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from pipelines.checking import CHECK, CheckConfig, PreflightConfig, attempt, checking, refuse
from pipelines.config_rules import (
    OWNED_FIELDS,
    capitalized,
    check_needs,
    check_ranges,
    check_streaming,
    check_training_extra,
    drop_alternatives,
    refuse_two,
    training_argument_names,
)
from pipelines.errors import ConfigError, did_you_mean, nearest

ConfigT = TypeVar("ConfigT")
UNRECORDED = {"run": ("dir", "overwrite", "stop_at_step"), "training": ("push_to_hub", "hub_model_id")}


def parse_config(
    config_class: type[ConfigT], recipe: str, argv: list[str] | None = None, positional: str | None = None
) -> ConfigT:
    """The resolved config of a recipe.

    Args:
        config_class: dataclass whose fields are sections (dataclasses of pipelines/sections.py).
        recipe: path of the recipe script; its stem names the folder of its committed configs.
        argv: command line without the program name; default sys.argv[1:].
        positional: key that a first argument without a flag is the value of.

    In a check, every such error is noted, and what it is about keeps its default.

    Raises:
        ConfigError: unknown, repeated or ill-typed key, unreadable file, or two alternatives at once.
        SystemExit: after --help or --print_config.
    """
    argv = sys.argv[1:] if argv is None else argv
    if positional is not None and argv and not argv[0].startswith("-"):
        argv = [f"--{positional}", *argv]
    config_dir = Path(recipe).resolve().parent / "configs" / Path(recipe).stem
    parser, sections = _build_parser(config_class, recipe)
    flags, files = _split_config_files(argv)
    print_config = "--print_config" in flags
    # jsonargparse has a --print_config of its own that needs a config file
    flags = [flag for flag in flags if flag not in {"--print_config", *CHECK}]
    keys = [*_leaf_keys(config_class), *_leaf_keys(CheckConfig)]
    known = set(keys)

    layers: list[dict[str, Any]] = [
        attempt(_read_yaml, path, known, parser, config_dir, otherwise={})
        for path in files or _existing(config_dir / "default.yaml")
    ]
    flags, stated = _stated_flags(flags, keys, set(_map_keys(config_class)), parser)
    layers.append(stated)
    merged: dict[str, Any] = {}
    for layer in layers[:-1]:
        _merge(merged, layer, known)
    drop_alternatives(merged, layers[-1])
    base = _parse(lambda: parser.parse_object(merged), "the config files")
    namespace = _parse(lambda: parser.parse_args(flags, namespace=base), "the command line")
    stated = dict(_flatten(namespace.as_dict(), known))
    resolved = dict(stated)
    refuse_two(resolved, "the command line")
    for key in stated.keys() - resolved.keys():
        namespace[key] = None

    if print_config:
        print(yaml.safe_dump(_plain(namespace, sections), sort_keys=False, allow_unicode=True), end="")
        raise SystemExit(0)
    instances = parser.instantiate(namespace)
    config = config_class(**{name: instances[name] for name in sections})
    if (check := checking()) is not None and CHECK & set(argv):  # not where the files alone are read again
        check.settings = instances["preflight"]
        check_ranges(CheckConfig(check.settings))
        attempt(check.json_path, otherwise=None)
    check_ranges(config)
    check_needs(config)
    check_streaming(config)
    check_training_extra(config)
    return config


def config_to_dict(config: Any) -> dict[str, Any]:
    """The resolved config as plain values: `--config` of it starts a new folder, and pushes nothing.

    So run.dir, run.overwrite, run.stop_at_step, the section publish and its other names in training are left out.
    """
    values = dataclasses.asdict(config)
    values.pop("publish", None)
    for section, names in UNRECORDED.items():
        for name in names:
            values.get(section, {}).pop(name, None)
    return values


def config_to_yaml(config: Any) -> str:
    """The resolved config as YAML that `--config` reads back to the same config."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True)


def keys_of(config_class: type) -> dict[str, Any]:
    """The dotted keys of a recipe's config with their types."""
    return dict(_leaves(config_class))


def without_flags(config: ConfigT, recipe: str, argv: list[str] | None = None) -> tuple[str, ConfigT]:
    """The name of the last --config file (or `default`), and the config of the files alone."""
    _, files = _split_config_files(sys.argv[1:] if argv is None else argv)
    plain = parse_config(type(config), recipe, [part for file in files for part in ("--config", str(file))])
    return files[-1].stem if files else "default", plain


# ---------------------------------------------------------------- parser


def _build_parser(config_class: type, recipe: str) -> tuple[ArgumentParser, list[str]]:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    name = Path(recipe).stem
    description = (sys.modules[config_class.__module__].__doc__ or "").strip().split("\n")[0]
    usage = f"{name}.py [--config FILE ...] [--SECTION.KEY VALUE ...]"
    parser = ArgumentParser(prog=f"{name}.py", usage=usage, description=description, exit_on_error=False)
    parser.add_argument("--config", action="append", metavar="FILE", help="YAML file; may be repeated, later wins.")
    parser.add_argument("--print_config", action="store_true", help="Print the whole resolved config and exit.")
    parser.add_argument(
        "--check", action="store_true", help="Find out all that can be known before the first step, and exit."
    )
    sections = []
    for section, section_class in get_type_hints(config_class).items():
        parser.add_class_arguments(section_class, section)
        sections.append(section)
    parser.add_class_arguments(PreflightConfig, "preflight")
    return parser, sections


def _parse(parse: Any, source: str) -> Namespace:
    try:
        return parse()
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises argparse.ArgumentError, TypeError and ValueError alike
        raise ConfigError(f"{capitalized(source)}: {_plain_message(str(error))}") from None


def _plain_message(message: str) -> str:
    """jsonargparse's message in one line: `"training.max_steps": expected int or null, got 'ten'`."""
    if message.startswith("unrecognized arguments: "):
        return f"{message}. Write --SECTION.KEY and one value; for several files '[a.txt, b.txt]' or a quoted '*.txt'."
    lacking = re.fullmatch(r"argument (--\S+): expected one argument", message)
    if lacking:
        return f"{lacking[1]} needs a value behind it."
    message = re.sub(r"<class '(\w+)'>", r"\1", message.replace("Parser key ", "").replace("typing.", ""))
    message = message.replace("NoneType", "null")
    union = re.search(r'^(".*?"):.*Subtypes: \[(.*?)\]\n.*Given value: (.*?)$', message, flags=re.DOTALL)
    if union:
        key, types, value = union.groups()
        return f"{key}: expected {_plain_types(types)}, got {value!r}."
    single = re.search(r'^(".*?"):\s*Expected an? (.*?)\. Got value: (.*)$', message, flags=re.DOTALL)
    if single:
        key, types, value = single.groups()
        return f"{key}: expected {_plain_types(types)}, got {value!r}."
    return " ".join(message.split())


def _plain_types(types: str) -> str:
    """Names of types as a user may write their values: `Literal['a', 'b'], null` -> `'a' or 'b' or null`."""
    types = re.sub(r"Literal\[(.*?)\]", r"\1", types.replace("bool", "true or false"))
    types = re.sub(r"\bdict\b(\[.*?\])?", "a map such as '{name: value}'", types)
    types = re.sub(r"\blist\b(\[.*?\])?", "a list such as '[a; b]'", types)
    return types.replace(", ", " or ").replace("[a; b]", "[a, b]")


def _plain(namespace: Namespace, sections: list[str]) -> dict[str, Any]:
    values = namespace.as_dict()
    return {section: values.get(section, {}) for section in sections}


def _leaves(config_class: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(config_class).items():
        if dataclasses.is_dataclass(hint) and dataclasses.fields(hint):  # an empty section may be stated as such
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint


def _leaf_keys(config_class: Any) -> Iterator[str]:
    return (key for key, _ in _leaves(config_class))


def _map_keys(config_class: Any) -> Iterator[str]:
    """Keys whose value may be a map, so that `--data.columns.review text` sets one entry of it."""
    return (key for key, hint in _leaves(config_class) if "dict[" in str(hint))


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
                told = f"key {key!r} stands twice, in lines {seen[key]} and {line}. Keep one."
                refuse(ConfigError(f"{node.start_mark.name}: {told}"))
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
        what = f"There is no config file {path}.{did_you_mean(path.name, [file.name for file in committed])}"
        if path.is_dir():
            what = f"{path} is a folder; --config needs a file."
        raise ConfigError(f"{what} Committed configs are in {config_dir}.")
    values = read_yaml(path)
    source = str(path)

    def accept(key: str, value: Any) -> bool:
        _refuse_unknown(key, known, source)
        if key not in known:
            raise ConfigError(f"{path}: {key!r} is a section and must hold a map, not {value!r}.")
        if checking() is not None:  # each by itself
            _parse(lambda: parser.parse_object(_nested(key, value)), source)
        return True

    # only a check goes on after one that is not accepted
    accepted = [(key, value) for key, value in _flatten(values, known) if attempt(accept, key, value, otherwise=False)]
    if checking() is None:
        _parse(lambda: parser.parse_object(values), source)
    stated = dict(accepted)
    refuse_two(stated, source)
    values = {}
    for key, value in stated.items():
        _set(values, key, value)
    return values


def _nested(key: str, value: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    _set(values, key, value)
    return values


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key in nested maps."""
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[leaf] = value


def read_yaml(path: Path) -> dict[str, Any]:
    """The map that a YAML file holds.

    Raises:
        ConfigError: it is no valid YAML, no map of sections, or states a key twice.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.name = str(path)
        values = loader.get_single_data()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check its access rights.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        told = f"{path}, line {line}: not valid YAML: {error.problem}. Mend that line, or one before it."
        raise ConfigError(told) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    values = {} if values is None else values
    if _holds_itself(values, [], set()):
        raise ConfigError(f"{path}: an alias (*name) stands inside of what it stands for. Write the values out.")
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must hold a map of sections such as 'training:'. It holds a {type(values).__name__}."
        )
    return values


def _holds_itself(value: Any, around: list[int], finite: set[int]) -> bool:
    """Whether maps and lists, as YAML's aliases make them, go on for ever; `around` are those that `value` is in."""
    if id(value) in around or not isinstance(value, dict | list) or id(value) in finite:
        return id(value) in around
    inside = value.values() if isinstance(value, dict) else value
    if any(_holds_itself(one, [*around, id(value)], finite) for one in inside):
        return True
    finite.add(id(value))
    return False


def typed(dataclass_type: type[ConfigT], values: Mapping[str, Any], source: str) -> ConfigT:
    """A dataclass, with those inside it, made of plain values; `source` is told in messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value is of another type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--content", type=dataclass_type)
    try:
        found = _parse(lambda: parser.instantiate(parser.parse_object({"content": copy.deepcopy(values)})), source)
    except ConfigError as error:
        told = str(error).replace("content.", "").replace("the following arguments are required", "missing keys")
        raise ConfigError(told) from None
    content: ConfigT = found["content"]
    return content


def _flatten(values: Mapping[str, Any], known: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Like `flatten`, but a map that is itself the value of a known key stays whole."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and dotted not in known and value:
            yield from _flatten(value, known, dotted + ".")
        else:
            yield dotted, value


def _merge(into: dict[str, Any], layer: Mapping[str, Any], known: set[str]) -> None:
    drop_alternatives(into, dict(_flatten(layer, known)))
    for key, value in _flatten(layer, known):
        _set(into, key, value)


# ---------------------------------------------------------------- flags


def _split_config_files(argv: list[str]) -> tuple[list[str], list[Path]]:
    """The flags without --config, and the files that --config names."""
    flags: list[str] = []
    files: list[Path] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--config" or argument.startswith("--config="):
            value = next(rest, "") if argument == "--config" else argument.removeprefix("--config=")
            if not value:
                raise ConfigError("--config needs the path of a YAML file.")
            files.append(Path(value))
        else:
            flags.append(argument)
    return flags, files


def _stated_flags(
    flags: list[str], keys: list[str], maps: set[str], parser: ArgumentParser
) -> tuple[list[str], dict[str, Any]]:
    """The flags, each refused if unknown, and the keys that they state; values stay with the parser."""
    accepted: list[str] = []
    stated: dict[str, Any] = {}
    starts = [place for place, flag in enumerate(flags) if flag.startswith("--")]
    for start, end in zip([0, *starts], [*starts, len(flags)], strict=True):
        group = flags[start:end]  # a flag and what follows it
        if not group or not group[0].startswith("--"):
            accepted += group
            continue
        key, separator, value = group[0][2:].partition("=")
        if key != "help":
            key = next((name for name in maps if key.startswith(name + ".")), key)
            if not attempt(_accept_flag, key, keys, group, parser, otherwise=False):
                continue
            following = flags[start + 1] if start + 1 < len(flags) else None
            stated[key] = None if (value if separator else following) == "null" else group[0]
        accepted += group
    return accepted, stated


def _accept_flag(key: str, keys: list[str], group: list[str], parser: ArgumentParser) -> bool:
    _refuse_unknown(key, set(keys), "The command line")
    if key not in keys:
        example = next(name for name in keys if name.startswith(f"{key}."))
        raise ConfigError(f"The command line: {key!r} is a section. Set its keys one by one, such as --{example}.")
    if checking() is not None:  # each by itself
        _parse(lambda: parser.parse_args(group), "the command line")
    elif key.startswith("preflight."):
        raise ConfigError(f"The command line: {group[0]} is a setting of --check. Add --check, or leave it out.")
    return True


def _refuse_unknown(key: str, known: set[str], source: str) -> None:
    if key in known or any(name.startswith(key + ".") for name in known):
        return
    if key.startswith("training.") and "training.extra" in known:
        name = key.removeprefix("training.").split(".")[0]
        if name in OWNED_FIELDS:
            raise ConfigError(f"{source}: {key!r} cannot be set: {OWNED_FIELDS[name]}.")
        if name in training_argument_names():
            raise ConfigError(
                f"{source}: {key!r} is a field of transformers.TrainingArguments that goes into training.extra. "
                f"Write: --training.extra.{name} VALUE"
            )
    sections = {name.split(".")[0] for name in known}
    section = key.split(".")[0]
    if section not in sections:
        hint = did_you_mean(section, sections) or _similar_key(key, known)
        raise ConfigError(f"{source}: unknown section {section!r}.{hint} Sections: {', '.join(sorted(sections))}.")
    raise ConfigError(f"{source}: unknown key {key!r}.{_similar_key(key, known)} `--print_config` lists every key.")


def _similar_key(key: str, known: set[str]) -> str:
    """A hint at a key of a similar name in the same section, of the same name in another one, or else any like it."""
    section, _, name = key.rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in known if one.rpartition(".")[0] == section}
    near = nearest(name, beside)
    namesakes = sorted(one for one in known if one.rpartition(".")[2] == name)
    meant = [beside[near]] if near is not None else namesakes
    if meant:
        return f" Did you mean {' or '.join(map(repr, meant))}?"
    return did_you_mean(key, known) or did_you_mean(name, {one.rpartition(".")[2] for one in known})
