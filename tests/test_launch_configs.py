"""Launch configs, job scripts and manifests: accelerate reads what is meant, and nothing is started."""

import importlib
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.parallelism_config import ParallelismConfig
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from conftest import RECIPES, REPOSITORY
from torch.distributed.run import get_args_parser

from pipelines.config import parse_config

CONFIGS = {path.stem: path for path in sorted((RECIPES / "configs" / "accelerate").glob("*.yaml"))}
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
}
MESH = "PARALLELISM_CONFIG_"
# What each file means to the processes that it starts: their number, and the environment they see.
MEANT: dict[str, tuple[int, dict[str, str]]] = {
    "cpu2": (2, {}),
    "ddp": (8, {}),
    "multi_node": (16, {}),
    "fsdp2": (8, SHARDED),
    "fsdp2_hybrid": (16, SHARDED | {f"{MESH}DP_REPLICATE_SIZE": "2", f"{MESH}DP_SHARD_SIZE": "8"}),
    "tensor_parallel": (8, SHARDED | {f"{MESH}TP_SIZE": "2", f"{MESH}DP_SHARD_SIZE": "4"}),
    "context_parallel": (
        8,
        SHARDED | {f"{MESH}CP_SIZE": "2", f"{MESH}DP_SHARD_SIZE": "4", f"{MESH}CP_COMM_STRATEGY": "allgather"},
    ),
    "zero3": (
        8,
        {
            "ACCELERATE_USE_DEEPSPEED": "true",
            "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
            "ACCELERATE_DEEPSPEED_ZERO3_INIT": "true",
            "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
        },
    ),
}
ENGINES = {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_PARALLELISM_CONFIG"}


def launched(name: str, *flags: str) -> tuple[Any, dict[str, str]]:
    """The launcher's arguments after its own checks, and the environment that it would start processes with."""
    several = ("--machine_rank", "1", "--main_process_ip", "10.0.0.1") if MEANT[name][0] == 16 and not flags else ()
    parser = launch_command_parser()
    args = parser.parse_args(["--config_file", str(CONFIGS[name]), *several, *flags, "recipe.py", "--run.threads", "1"])
    args, _, _ = _validate_launch_command(args)
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        return args, prepare_deepspeed_cmd_env(args)[1]
    return args, prepare_multi_gpu_env(args)


def test_every_launch_config_is_known_here() -> None:
    assert len(CONFIGS) == 8 and CONFIGS.keys() == MEANT.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_launch_config_means_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config_from_file(str(CONFIGS[name]))
    assert config.mixed_precision == "no" and config.dynamo_config == {"dynamo_backend": "NO"}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    args, environment = launched(name)
    processes, meant = MEANT[name]
    assert args.num_processes == processes and int(args.nproc_per_node) == min(processes, 8)
    assert args.multi_gpu or args.use_fsdp or args.use_deepspeed, "or the launcher would start one process"
    assert (
        environment["ACCELERATE_MIXED_PRECISION"] == "no" and environment.get("ACCELERATE_DYNAMO_BACKEND", "NO") == "NO"
    )
    assert {key: environment.get(key) for key in meant} == meant
    asked_for = ENGINES & environment.keys()
    assert asked_for == (ENGINES & meant.keys()) | {
        "ACCELERATE_USE_PARALLELISM_CONFIG" for key in meant if key.startswith(MESH)
    }


@pytest.mark.parametrize("name", [name for name, (_, meant) in MEANT.items() if meant.keys() >= SHARDED.keys()])
def test_accelerate_makes_the_sharding_that_is_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugins that accelerate makes of the environment say, and that the sizes make up all processes."""
    for key, value in launched(name)[1].items():
        if key.startswith(("FSDP_", MESH)):
            monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    if any(key.startswith(MESH) for key in MEANT[name][1]):
        assert ParallelismConfig().total_size == MEANT[name][0]


def test_the_hybrid_trial_on_one_machine_is_four_processes() -> None:
    sizes = ("--parallelism_config_dp_replicate_size", "2", "--parallelism_config_dp_shard_size", "2")
    trial = ("--num_machines", "1", "--num_processes", "4", "--main_process_port", "0", *sizes)
    text = CONFIGS["fsdp2_hybrid"].read_text().replace("\\\n#", " ")
    assert " ".join(trial) in " ".join(text.split())
    args, environment = launched("fsdp2_hybrid", *trial)
    assert int(args.nproc_per_node) == 4
    assert (environment[f"{MESH}DP_REPLICATE_SIZE"], environment[f"{MESH}DP_SHARD_SIZE"]) == ("2", "2")


def test_what_the_recipes_refuse_says_so_in_its_first_line() -> None:
    refused = {name for name, path in CONFIGS.items() if path.read_text().startswith("# NEVER RUN, AND REFUSED")}
    assert refused == {"zero3", "tensor_parallel", "context_parallel"}


# ---------------------------------------------------------------- job scripts and manifests

JOBS = RECIPES / "configs" / "launch"


def recipe_flags(words: list[str]) -> list[str]:
    """What follows the recipe in a job's command, paths taken to be those of this repository."""
    place = next(index for index, word in enumerate(words) if word.endswith("recipes/pretrain_clm.py"))
    return [word.replace("/workspace/plumbline/", f"{REPOSITORY}/") for word in words[place + 1 :]]


def commands() -> dict[str, list[str]]:
    """The words that each job starts on a node, as its shell or Kubernetes makes them."""
    script = (JOBS / "slurm.sbatch").read_text().replace("\\\n", " ")
    trainer = yaml.safe_load((JOBS / "trainjob.yaml").read_text())["spec"]["trainer"]
    run = yaml.safe_load((JOBS / "skypilot.yaml").read_text())["run"].replace("\\\n", " ")
    started = {"slurm": script, "skypilot": run}
    found = {
        name: shlex.split(next(line for line in text.splitlines() if "torchrun" in line and "recipes/" in line))
        for name, text in started.items()
    }
    return found | {"trainjob": trainer["command"] + trainer["args"]}


def test_every_job_is_known_here() -> None:
    assert {path.name for path in JOBS.iterdir()} == {"slurm.sbatch", "trainjob.yaml", "skypilot.yaml"}


@pytest.mark.parametrize("name", ["slurm", "trainjob", "skypilot"])
def test_a_job_starts_a_recipe_with_flags_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes of eight GPUs make steps of as many rows as the config's one node does."""
    monkeypatch.chdir(REPOSITORY)
    words = [word for word in commands()[name] if word != "$@"]
    recipe = importlib.import_module("pretrain_clm")
    config = parse_config(recipe.Config, str(RECIPES / "pretrain_clm.py"), recipe_flags(words))
    training = config.training
    assert 16 * training.per_device_train_batch_size * training.gradient_accumulation_steps == 512
    assert config.model.preset == "1b" and config.run.dir is not None


@pytest.mark.parametrize("name", ["slurm", "skypilot"])
def test_torchrun_takes_a_jobs_flags(name: str) -> None:
    words = commands()[name]
    flags = words[words.index("torchrun") + 1 :]
    values = {"$SLURM_NNODES": "2", "$SLURM_GPUS_ON_NODE": "8", "$SLURM_JOB_ID": "17", "$head_node": "a1"}
    values |= {f"$SKYPILOT_{key}": value for key, value in (("NUM_NODES", "2"), ("NUM_GPUS_PER_NODE", "8"))}
    values |= {"$SKYPILOT_NODE_RANK": "0"}
    for variable, value in values.items():
        flags = [flag.replace(variable, value) for flag in flags]
    parsed = get_args_parser().parse_args(flags)
    assert (parsed.nnodes, parsed.nproc_per_node) == ("2", "8")
    assert parsed.training_script == "recipes/pretrain_clm.py"


def test_the_slurm_script_is_one_that_bash_reads() -> None:
    done = subprocess.run(["bash", "-n", str(JOBS / "slurm.sbatch")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    options = re.findall(r"^#SBATCH --([\w-]+)", (JOBS / "slurm.sbatch").read_text(), flags=re.M)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "signal", "requeue"} <= set(options)


def test_volumes_of_the_manifests_are_those_they_mount() -> None:
    job = yaml.safe_load((JOBS / "trainjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert node["name"] == container["name"] == "node"  # of the runtime torch-distributed
    assert {one["name"] for one in pod["volumes"]} == {one["name"] for one in container["volumeMounts"]}
    task = yaml.safe_load((JOBS / "skypilot.yaml").read_text())
    shared = {one["mountPath"] for one in container["volumeMounts"]} & task["volumes"].keys()
    assert shared == {"/shared"}
    folders = [one["value"] for one in job["spec"]["trainer"]["env"]] + list(task["envs"].values())
    assert len(folders) == 4 and all(folder.startswith("/shared/") for folder in folders)
