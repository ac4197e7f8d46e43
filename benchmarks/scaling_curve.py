"""Speed on 1 to 1,024 GPUs, on paper: what arithmetic and published rates allow. Nothing of it was ever run on a GPU.

python -m benchmarks.scaling_curve                             # prints the tables, writes docs/scaling.svg
python -m benchmarks.scaling_curve --tokens_per_second 25000   # with what one device has been seen to do

A step takes the time of its arithmetic, and of what is sent and not hidden behind arithmetic. Every process has a GPU.

- Arithmetic: the model's floating-point operations (pipelines.models.cost, a third more with recomputation) by the data
  sheet's dense peak times an assumed share, as in pipelines.training.forecast; or tokens a second as measured.
- In a ring each of n processes sends and receives (n - 1) / n of the bytes of an all-gather or a reduce-scatter, twice
  that for an all-reduce (Patarasuk and Yuan 2009; the factors of nccl-tests, doc/PERFORMANCE.md).
- DDP reduces all gradients once a step. FSDP2 gathers the weights for the forward pass and again for the backward pass,
  and scatters reduced gradients, in each micro-batch: 1.5 times DDP's volume (Rajbhandari et al. 2020, section 7.2).
  Hybrid sharding does that inside a node, and reduces each GPU's share of the gradients among the nodes once a step
  (Zhao et al. 2023, section 3.2).
- Inside a node a ring has NVLink's rate. A ring over nodes passes each of a node's network cards with a part of the
  bytes, so that the node's cards together bound it, or NVLink if that is less.
- Each call waits for its hops as in NCCL's own cost model (src/graph/tuning.cc): all of a ring, one after the other, or
  for an all-reduce those up and down a tree, if that is less. DDP makes a call for each bucket of 25 MiB, the others
  for each layer and for what is outside of layers.
- Hidden is what fits behind a share of the arithmetic: for DDP, and between nodes, that of the last micro-batch's
  backward pass; for gathering and scattering that of the whole step.

Left out: stragglers, failures, other jobs on the network, data, evaluation, checkpoints. True curves are below these.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.models.presets import PRESETS
from pipelines.training.devices import device_named
from pipelines.training.plan import ASSUMED_MFU

Strategy = Literal["ddp", "fsdp2", "hybrid"]
SVG = Path(__file__).resolve().parents[1] / "docs" / "scaling.svg"
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHOWN = (1, 8, 64, 512, 1024)
NAMES = ("base", "medium", "1b")
BLOCK_SIZE, VOCABULARY, MICRO_BATCH = 2048, 49_152, 8
GLOBAL_ROWS = 1024  # of strong scaling: 2.1 million tokens, as TinyLlama (Zhang et al. 2024)
BUCKET_BYTES = 25 * 2**20  # of torch's DistributedDataParallel, bucket_cap_mb
# NCCL, src/graph/tuning.cc, protocol Simple: seconds of a call, and of a hop in a node and to another one.
CALL_SECONDS, RING_HOPS, TREE_HOPS = 8.4e-6, (3.4e-6, 14e-6), (4.0e-6, 14e-6)
BACKWARD_SHARE = {
    False: 2 / 3,
    True: 3 / 4,
}  # of the arithmetic: the backward pass is twice the forward, + recomputation


@dataclass(frozen=True)
class Cluster:
    """Nodes of accelerators, and what they reach.

    Attributes:
        device: a name of devices.DEVICES.
        node_size: accelerators of a node, each with a network card of its own.
        link_bytes_per_second: of an accelerator to the others of its node, in one direction: NVLink 4 has 900 GB/s in
            both (NVIDIA H100 data sheet).
        card_bytes_per_second: of a network card, in one direction: ConnectX-7, InfiniBand NDR, 400 Gb/s, one for each
            of eight GPUs (NVIDIA DGX H100 data sheet).
        reached_share: of both rates that collectives reach. Assumed.
        mfu: share of the peak that arithmetic reaches. Assumed.
        overlap_share: of the arithmetic that may hide what is sent. Assumed.
        gathered_bytes: of a weight as it is gathered; gradients have 4. The recipes' weights are fp32; 2 with a
            mixed-precision policy of FSDP2.
        tokens_per_second: of one device alone, as measured; None: by peak and mfu.
    """

    device: str = "h100-80gb"
    node_size: int = 8
    link_bytes_per_second: float = 450e9
    card_bytes_per_second: float = 50e9
    reached_share: float = 0.8
    mfu: float = ASSUMED_MFU
    overlap_share: float = 0.8
    gathered_bytes: int = 4
    tokens_per_second: float | None = None

    def ring_bytes_per_second(self, processes: int) -> float:
        """Rate of a ring through that many neighbouring processes."""
        cards = self.node_size * self.card_bytes_per_second
        rate = self.link_bytes_per_second
        return self.reached_share * (rate if processes <= self.node_size else min(rate, cards))


@dataclass(frozen=True)
class Workload:
    """A model and the rows of a step.

    Attributes:
        parameters: all of them, trained.
        flops_per_token: of forward and backward pass, recomputation aside.
        units: layers, and one for what is outside of them: each is gathered and reduced by itself.
        rows, accumulation: of a micro-batch, and micro-batches of a step, in one process.
        recomputed: activations are, which is a third more arithmetic.
    """

    parameters: int
    flops_per_token: float
    units: int
    rows: int = MICRO_BATCH
    accumulation: int = 1
    recomputed: bool = False

    @property
    def tokens(self) -> int:
        """Of one process and step."""
        return self.rows * self.accumulation * BLOCK_SIZE


@dataclass(frozen=True)
class Step:
    """Seconds of an optimizer step: arithmetic, what is sent, and what of that is not hidden."""

    compute: float
    sent: float
    exposed: float

    @property
    def seconds(self) -> float:
        """With what is hidden as assumed."""
        return self.compute + self.exposed


def ring_seconds(size_bytes: float, processes: int, bytes_per_second: float, passes: int = 1) -> float:
    """Time of the bytes of a ring all-gather or reduce-scatter of `size_bytes` in all; an all-reduce is two passes."""
    return passes * (processes - 1) / processes * size_bytes / bytes_per_second


def waiting_seconds(processes: int, node_size: int, reduces_all: bool) -> float:
    """Time that a call waits for its hops, whatever its bytes: those of a ring, or of a tree if it may and is less."""
    if processes == 1:
        return 0.0
    nodes = -(-processes // node_size)
    inside, outside = RING_HOPS
    passes = 2 if reduces_all else 1
    ring = passes * ((processes - nodes) * inside + (nodes - 1) * outside)
    inside, outside = TREE_HOPS
    tree = 2 * ((min(processes, node_size) - 1) * inside + (nodes.bit_length() - 1) * outside)
    return CALL_SECONDS + (min(ring, tree) if reduces_all else ring)


def step(work: Workload, cluster: Cluster, processes: int, strategy: Strategy) -> Step:
    """Seconds of a step of that many processes.

    Raises:
        ValueError: hybrid sharding over a part of a node.
    """
    rate = cluster.tokens_per_second
    if rate is None:
        flops = work.flops_per_token * (4 / 3 if work.recomputed else 1)
        rate = device_named(cluster.device).flops_per_second * cluster.mfu / flops
    compute, node_size = work.tokens / rate, cluster.node_size
    gradients, weights = 4 * work.parameters, cluster.gathered_bytes * work.parameters
    throughout = 0.0  # what is sent in every micro-batch
    if strategy == "ddp":
        at_the_end = ring_seconds(gradients, processes, cluster.ring_bytes_per_second(processes), passes=2)
        at_the_end += -(-gradients // BUCKET_BYTES) * waiting_seconds(processes, node_size, reduces_all=True)
    else:
        sharing = processes if strategy == "fsdp2" else min(processes, node_size)
        if processes % sharing:
            raise ValueError(f"{processes} processes are no whole number of nodes of {node_size}.")
        ring, copies = cluster.ring_bytes_per_second(sharing), processes // sharing
        each = 2 * ring_seconds(weights, sharing, ring) + ring_seconds(gradients, sharing, ring)
        each += 3 * work.units * waiting_seconds(sharing, node_size, reduces_all=False)
        throughout = work.accumulation * each
        card = cluster.reached_share * cluster.card_bytes_per_second
        at_the_end = ring_seconds(gradients / sharing, copies, card, passes=2)
        at_the_end += work.units * waiting_seconds(copies, 1, reduces_all=True)
    window = cluster.overlap_share * compute
    last = BACKWARD_SHARE[work.recomputed] * window / work.accumulation
    exposed = max(0.0, at_the_end - last)
    exposed += max(0.0, throughout - (window - min(at_the_end, last)))  # behind what is left
    return Step(compute, at_the_end + throughout, exposed)


def efficiency(work: Workload, cluster: Cluster, processes: int, strategy: Strategy) -> tuple[float, float]:
    """Speed of each process as a share of one alone: with what is hidden as assumed, and if nothing is."""
    found = step(work, cluster, processes, strategy)
    return found.compute / found.seconds, found.compute / (found.compute + found.sent)


@cache
def workload(name: str) -> Workload:
    """A preset with the vocabulary and blocks of this page, and a micro-batch."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from pipelines.models.cost import count_parameters, training_flops_per_token

    values: dict[str, Any] = PRESETS[name] | {"vocab_size": VOCABULARY, "max_position_embeddings": BLOCK_SIZE}
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    parameters, flops = count_parameters(model)["total"], training_flops_per_token(model, BLOCK_SIZE)
    return Workload(parameters, flops, config.num_hidden_layers + 1, recomputed=name == "1b")


def weak(name: str, processes: int) -> Workload:
    """A micro-batch for each process, however many there are."""
    return workload(name)


def strong(name: str, processes: int) -> Workload:
    """The same rows for all processes together, in micro-batches that are as large as they may be."""
    each = GLOBAL_ROWS // processes
    rows = min(MICRO_BATCH, each)
    return replace(workload(name), rows=rows, accumulation=each // rows)


def lines(cluster: Cluster) -> Iterator[str]:
    """The tables, a line at a time."""
    for title, work in (
        (f"Weak scaling: {MICRO_BATCH} rows of {BLOCK_SIZE:,} tokens in each GPU and step", weak),
        (f"Strong scaling: {GLOBAL_ROWS:,} rows of {BLOCK_SIZE:,} tokens in all GPUs together", strong),
    ):
        yield f"{title}. Share of a GPU's speed alone: as assumed / with nothing hidden; million tokens a second."
        yield ""
        yield f"| preset | parallelism | {' | '.join(f'{count:,}' for count in SHOWN)} |"
        yield f"|---|---|{'---|' * len(SHOWN)}"
        for name in NAMES:
            for strategy in get_args(Strategy):
                cells = []
                for count in SHOWN:
                    load = work(name, count)
                    best, worst = efficiency(load, cluster, count, strategy)
                    speed = count * load.tokens / step(load, cluster, count, strategy).seconds
                    cells.append(f"{best:.0%} / {worst:.0%}; {speed / 1e6:,.2f}")
                yield f"| {name} | {strategy} | {' | '.join(cells)} |"
        yield ""


def assumptions(cluster: Cluster) -> str:
    """What the tables rest on, in one sentence."""
    device = device_named(cluster.device)
    if cluster.tokens_per_second is None:
        speed = f"{device.name} at {cluster.mfu:.0%} of {device.flops_per_second / 1e12:,.1f} TFLOP/s"
    else:
        speed = f"{cluster.tokens_per_second:,.0f} tokens a second and GPU, as measured, for every preset"
    link, card = cluster.link_bytes_per_second / 1e9, cluster.card_bytes_per_second / 1e9
    return (
        f"{speed}; nodes of {cluster.node_size}; {cluster.reached_share:.0%} of {link:,.0f} GB/s inside a node and of "
        f"{card:,.0f} GB/s a GPU between nodes; at most {cluster.overlap_share:.0%} of the arithmetic hides what is "
        f"sent; weights gathered in {cluster.gathered_bytes} bytes, gradients in 4; vocabulary {VOCABULARY:,}; "
        "1b recomputed."
    )


def draw(cluster: Cluster, path: Path) -> None:
    """Writes the curves of the preset 1b. Equal input gives equal text."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "plumbline", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        for axes, title, work in zip(
            figure.subplots(1, 2, sharey=True),
            (f"weak: {MICRO_BATCH} rows each", f"strong: {GLOBAL_ROWS:,} rows in all"),
            (weak, strong),
            strict=True,
        ):
            for strategy, colour in zip(get_args(Strategy), ("#1f62b0", "#bd4d12", "#1b7340"), strict=True):
                shares = [efficiency(work("1b", count), cluster, count, strategy) for count in COUNTS]
                for index, dashes, label in ((0, "-", strategy), (1, ":", f"{strategy}, nothing hidden")):
                    values = [100 * share[index] for share in shares]
                    axes.plot(COUNTS, values, color=colour, linestyle=dashes, linewidth=1.4, label=label)
            axes.set_xscale("log", base=2)
            axes.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS], fontsize=7.5)
            axes.set_ylim(0, 104)
            axes.set_title(f"preset 1b, {title}", fontsize=9)
            axes.set_xlabel("GPUs, simulated")
            axes.grid(axis="y", color="#dcdfe2", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("% of one GPU's speed, each")
        figure.axes[0].legend(frameon=False, fontsize=7.5, ncols=2, loc="lower left")
        metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(path, format="svg", metadata=metadata, facecolor="white")


def main() -> None:
    """Prints assumptions and tables as Markdown, and draws the curves."""
    parser = argparse.ArgumentParser(description="Simulated scaling to 1,024 GPUs.")
    parser.add_argument("--device", default=Cluster.device, help="of pipelines/training/devices.py")
    parser.add_argument("--mfu", type=float, default=Cluster.mfu, help="share of the peak that arithmetic reaches")
    parser.add_argument("--overlap_share", type=float, default=Cluster.overlap_share)
    parser.add_argument("--gathered_bytes", type=int, default=Cluster.gathered_bytes, choices=(2, 4))
    parser.add_argument("--tokens_per_second", type=float, help="of one device alone, in place of peak and mfu")
    parser.add_argument("--svg", type=Path, default=SVG, help="where the curves are written")
    chosen = vars(parser.parse_args())
    path: Path = chosen.pop("svg")
    cluster = Cluster(**chosen)
    print(f"{assumptions(cluster)}\n")
    for line in lines(cluster):
        print(line, flush=True)
    draw(cluster, path)


if __name__ == "__main__":
    main()
