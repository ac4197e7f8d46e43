"""What differs between a run and the same run computed again: steps, tensors, figures; and why that may be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checksums import sha256_of
from pipelines.run_folder import RunFolder

if TYPE_CHECKING:
    import torch

# How the names of figures end that depend on the machine and its load.
OF_THE_MACHINE = ("_seconds", "_per_second", "_mfu", "_memory_bytes", "_kwh", "_emissions_kg")
OF_MEMBERS = ("seeds_", "folds_")
OF_A_STEP = ("loss", "grad_norm")
PLANNED = ("device", "precision", "cpu_threads", "processes")  # keys of plan.json that decide the last bits


def steps_difference(
    recorded: Sequence[Mapping[str, float]], again: Sequence[Mapping[str, float]], first: int, last: int
) -> str | None:
    """The first step whose loss or gradient norm is not the same, bit for bit, and by how much; None: none is.

    Args:
        recorded, again: lines of steps.jsonl.
        first, last: steps that are compared.
    """
    sides = [{one["step"]: {name: one[name] for name in OF_A_STEP} for one in side} for side in (recorded, again)]
    steps = range(first, last + 1)
    different = [step for step in steps if any(step not in side for side in sides) or sides[0][step] != sides[1][step]]
    if not different:
        return None
    step = different[0]
    if step not in sides[0]:
        return f"step {step} is not in steps.jsonl"
    if step not in sides[1]:
        return f"step {step} was not made again"
    parts = [
        _told(name, sides[0][step][name], sides[1][step][name])
        for name in OF_A_STEP
        if sides[0][step][name] != sides[1][step][name]
    ]
    more = f"; {len(different)} of {len(steps)} steps differ" if len(different) > 1 else ""
    return f"step {step} differs first: {', '.join(parts)}{more}"


def _told(name: str, recorded: Any, again: Any) -> str:
    are_numbers = all(isinstance(value, int | float) for value in (recorded, again))
    off = f" (off by {abs(recorded - again):.3g})" if are_numbers else ""
    return f"{name} {recorded!r} recorded, {again!r} computed again{off}"


def weights_difference(here: Path, again: Path) -> tuple[int, str | None]:
    """Compares the tensors of all safetensors files of two folders, bit for bit.

    Returns:
        Number of tensors here, and the first difference or None.
    """
    from safetensors import SafetensorError

    try:
        sides = [_tensors(here), _tensors(again)]
    except SafetensorError as error:
        return 0, f"weights cannot be read: {error}"
    return len(sides[0]), tensors_difference(*sides)


def tensors_difference(here: Mapping[str, "torch.Tensor"], again: Mapping[str, "torch.Tensor"]) -> str | None:
    """The first tensor that is not the same, bit for bit, and by how much."""
    import torch

    for name in sorted(here.keys() | again.keys()):
        if name not in here or name not in again:
            return f"{name} is only in {'the run' if name in here else 'what was computed again'}"
        left, right = here[name], again[name]
        if left.dtype != right.dtype or left.shape != right.shape:
            sides = (f"{str(one.dtype).removeprefix('torch.')} {tuple(one.shape)}" for one in (left, right))
            return f"{name} is {' here, '.join(sides)} computed again"
        # As bytes, so that a NaN is equal to itself and -0.0 is not 0.0.
        if not torch.equal(*(one.contiguous().reshape(-1).view(torch.uint8) for one in (left, right))):
            return f"{name} differs by up to {float((left.double() - right.double()).abs().max()):.3g}"
    return None


def optimizer_difference(here: Path, again: Path) -> str | None:
    """Compares optimizer.pt of two checkpoints: as files, or else tensor by tensor (only tensors are unpickled)."""
    import torch

    paths = [folder / "optimizer.pt" for folder in (here, again)]
    if not all(path.is_file() for path in paths):
        return None if not any(path.is_file() for path in paths) else "optimizer.pt is only on one side"
    if sha256_of(paths[0]) == sha256_of(paths[1]):
        return None
    try:
        sides: list[Any] = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    except Exception as error:  # of many kinds, by what was changed
        return f"optimizer.pt cannot be read: {' '.join(str(error).split())[:200]}"
    return tensors_difference(*(dict(_leaves(side, "optimizer")) for side in sides))


def figures_difference(recorded: Mapping[str, float], again: Mapping[str, float]) -> tuple[int, list[str]]:
    """Compares final figures, but those of the machine and of members of a run.

    Returns:
        Number of figures compared, and every difference.
    """
    names = [name for name in {**recorded, **again} if not name.endswith(OF_THE_MACHINE)]
    names = [name for name in names if not name.startswith(OF_MEMBERS)]
    different = []
    for name in names:
        left, right = recorded.get(name), again.get(name)
        if left is None or right is None:
            different.append(f"{name} is only in {'metrics.json' if right is None else 'what was computed again'}")
        elif left != right:
            different.append(_told(name, left, right))
    return len(names), different


def likely_causes(run: RunFolder, again: RunFolder) -> str:
    """In words: in what the machine and its software are not those that the run was made with."""
    sides = [_circumstances(folder) for folder in (run, again)]
    told = [f"{name} {value} then, {sides[1].get(name)} now" for name, value in sides[0].items()]
    different = [one for one, (name, value) in zip(told, sides[0].items(), strict=True) if sides[1].get(name) != value]
    if not different:
        return "Versions, device, precision, threads and commit are those of the run: a file was changed, or the code."
    return f"A likely cause, unless a file was changed: {'; '.join(different)}."


def _circumstances(folder: RunFolder) -> dict[str, Any]:
    environment, plan = folder.read_json("environment.json"), folder.read_json("plan.json")
    planned = {name: plan.get(name) for name in PLANNED}
    processor = environment.get("hardware", {}).get("processor")
    rest = {
        "Python": environment.get("python"),
        "processor": processor,
        "commit": str(environment.get("git_commit"))[:12],
    }
    return {**environment["versions"], **planned, **rest}


def _tensors(folder: Path) -> dict[str, "torch.Tensor"]:
    """All tensors of a folder, by the name of their folder and their own; however they are shared among files."""
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        inside = path.parent.relative_to(folder).as_posix()
        found |= {name if inside == "." else f"{inside}/{name}": one for name, one in load_file(path).items()}
    return found


def _leaves(value: Any, name: str) -> Any:
    """(place, tensor) of all tensors and numbers inside maps and lists."""
    import torch

    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, bool | int | float):
        yield name, torch.tensor(value, dtype=torch.float64)
