"""The types of the fields of transformers.TrainingArguments, read from its source: importing it takes seconds."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError

SHOWN = {
    "bool": "true or false",
    "None": "null",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "dict": "a map such as '{name: value}'",
    "list": "a list such as '[a, b]'",
}


@cache
def annotations() -> dict[str, list[str]]:
    """Field -> the types it takes, as in the installed source without what stands in brackets: `list`, `None`.

    Raises:
        ConfigError: transformers is not installed, or has no such class.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("transformers is not installed. Run: pip install -c requirements.lock -e .")
    source = Path(spec.submodule_search_locations[0]) / "training_args.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            return {
                statement.target.id: _alternatives(statement.annotation)
                for statement in node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            }
    raise ConfigError(f"{source} holds no class TrainingArguments: this transformers version is not supported.")


def _alternatives(annotation: ast.expr) -> list[str]:
    if isinstance(annotation, ast.BinOp):
        return _alternatives(annotation.left) + _alternatives(annotation.right)
    return [ast.unparse(annotation.value if isinstance(annotation, ast.Subscript) else annotation)]


def expected(name: str, value: Any) -> str | None:
    """What a field takes, in words, if a value of a config is none of it.

    A whole number is a number too. A type that is not one of Python's own, such as an enumeration, takes text, of
    which TrainingArguments itself judges.
    """
    kinds = annotations()[name]
    found = "None" if value is None else type(value).__name__
    fits = {found, "float"} if found == "int" else {found}
    if fits & set(kinds) or (found == "str" and any(kind not in SHOWN for kind in kinds)):
        return None
    return " or ".join(dict.fromkeys(SHOWN[kind] for kind in kinds if kind in SHOWN))
