"""Imports point one way, and recipes stay thin."""

import ast

from conftest import RECIPES, REPOSITORY

GROUND = {"config", "config_rules", "sections", "task_sections", "errors", "run", "run_folder", "environment", "hub"}
GROUND |= {
    "argument_types",
    "checking",
    "checksums",
    "pretrained",
    "suite_sections",
    "publish_sections",
    "preparation_sections",
    "sweep_sections",
    "recipe_process",
    "ray_cluster",
}
GROUND |= {"emails", "text_search"}
# package or module of pipelines/ -> what it may import from pipelines, itself aside
ALLOWED = {
    "errors": set(),
    "checking": {"errors"},
    "checksums": set(),
    "sections": set(),
    "task_sections": {"sections"},
    "suite_sections": {"sections"},
    "publish_sections": set(),
    "preparation_sections": {"sections"},
    "text_search": set(),
    "emails": {"text_search"},
    "sweep_sections": set(),
    "pretrained": {"errors", "hub"},
    "hub": {"errors"},
    "config": {"checking", "config_rules", "errors"},
    "config_rules": {"argument_types", "checking", "errors"},
    "argument_types": {"errors"},
    "run": {"checking", "config", "errors"},
    "recipe_process": {"run"},
    "ray_cluster": {"errors", "run"},
    "run_folder": {"checking", "config", "config_rules", "errors", "run"},
    "environment": {"run"},
    "data": GROUND,
    "models": GROUND,
    "training": GROUND | {"data", "models"},
    "metrics": {"errors"},
    "baselines": {"errors"},
    "evaluation": GROUND | {"data", "models", "training"},
    "tasks": GROUND | {"data", "models", "training", "metrics", "baselines", "evaluation"},
    "finetuning": GROUND | {"data", "models", "training", "evaluation", "tasks", "publishing", "proofs"},
    "suites": GROUND
    | {"data", "models", "training", "metrics", "evaluation", "tasks", "finetuning", "report", "reporting"},
    "sweeps": GROUND | {"training", "report", "reporting"},
    "proofs": GROUND | {"data", "models", "training"},
    "publishing": GROUND | {"data", "models", "reporting", "report"},
    "preparation": GROUND | {"data", "reporting", "report"},
    "verification": GROUND | {"training"},
    "reporting": set(),
    "report": GROUND | {"reporting"},
}


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipelines."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pipelines.")}
    return names


def test_imports_point_one_way() -> None:
    files = sorted((REPOSITORY / "pipelines").rglob("*.py"))
    assert len(files) > 30
    for path in files:
        parts = path.relative_to(REPOSITORY / "pipelines").with_suffix("").parts
        if parts == ("__init__",):
            continue
        found = imported(ast.parse(path.read_text())) - {parts[0]}
        assert found <= ALLOWED[parts[0]], f"{path} imports {found - ALLOWED[parts[0]]}"


def test_recipes_are_thin_and_import_nothing_heavy() -> None:
    recipes = sorted(RECIPES.glob("*.py"))
    assert recipes
    for path in recipes:
        text = path.read_text()
        assert len(text.splitlines()) <= 113, path
        top = {node.module or "" for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)}
        sections = {f"pipelines.{name}" for name in GROUND if name.endswith("sections")}
        assert top <= {"dataclasses", "pipelines.run", *sections}, f"{path} imports {top} at start-up"
        uses_a_run = path.stem in ("predict", "generate", "publish_to_hub", "verify_run")  # of another recipe
        assert uses_a_run or (RECIPES / "configs" / path.stem / "default.yaml").is_file()


def test_no_forbidden_loading() -> None:
    files = [*sorted((REPOSITORY / "pipelines").rglob("*.py")), *sorted(RECIPES.glob("*.py"))]
    assert len(files) > 30
    for path in files:
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "trust_remote_code=True" not in text, path


def test_readme_names_only_what_exists() -> None:
    import re

    readme = (REPOSITORY / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if not link.startswith("http")]
    named = re.findall(r"`(tests/[\w.]+|recipes/[\w./]+)`", readme)
    assert len(links) > 3
    assert len(named) > 5
    for name in [*links, *named]:
        assert (REPOSITORY / name).exists(), name
    assert readme.count("```bash\n") == 2, "exactly two set-up commands"
