"""Steps, intervals, FLOPs and the memory formula against values worked out by hand."""

import math

import pytest
from exact_step import FewTokens

from pipelines.errors import ConfigError
from pipelines.models.build import build_causal_lm
from pipelines.models.cost import count_parameters, training_flops_per_token
from pipelines.models.presets import PRESETS
from pipelines.sections import ModelConfig, PretrainingConfig
from pipelines.training.plan import interval, scheduler_kwargs, steps_and_rows, warmup


@pytest.mark.parametrize(
    ("settings", "blocks", "processes", "expected"),
    [
        ({"max_steps": 10}, 7, 1, (10, 80, 8)),
        ({"max_steps": 10, "gradient_accumulation_steps": 2}, 7, 3, (10, 480, 48)),
        ({"num_train_epochs": 1.0}, 16, 1, (2, 16, 8)),
        ({"num_train_epochs": 1.0}, 17, 1, (3, 17, 8)),
        ({"num_train_epochs": 2.5}, 17, 2, (3, 43, 16)),
    ],
)
def test_steps_and_rows(settings: dict, blocks: int, processes: int, expected: tuple[int, int, int]) -> None:
    assert steps_and_rows(PretrainingConfig(**settings), blocks, processes) == expected


@pytest.mark.parametrize("settings", [{"num_train_epochs": 0}, {"num_train_epochs": -1.0}])
def test_impossible_counts_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match=f"training.{next(iter(settings))} must be"):
        steps_and_rows(PretrainingConfig(**settings), 10, 1)


def test_intervals_below_one_are_shares() -> None:
    assert [interval("save_steps", value, 1000) for value in (1, 250, 0.25, 0.0001)] == [1, 250, 250, 1]
    assert [warmup(value, 1000) for value in (0, 20, 0.02)] == [0, 20, 20]
    for value in (0, -1, 2.5):
        with pytest.raises(ConfigError, match=r"training.save_steps must be"):
            interval("save_steps", value, 1000)


@pytest.mark.parametrize(
    ("kwargs", "expected"), [(None, 20), ({"num_decay_steps": 5}, 5), ({"num_decay_steps": 0.55}, 55)]
)
def test_decay_is_a_fifth_a_count_or_a_share(kwargs: dict | None, expected: int) -> None:
    training = PretrainingConfig(lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs=kwargs)
    assert scheduler_kwargs(training, 100)["num_decay_steps"] == expected


def test_schedules_that_do_not_fit_are_refused() -> None:
    long = PretrainingConfig(lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs={"num_decay_steps": 99})
    with pytest.raises(ConfigError, match="together more than the 100 steps"):
        scheduler_kwargs(long, 100)
    wrong = PretrainingConfig(lr_scheduler_type="cosine", lr_scheduler_kwargs={"num_decay_steps": 3})
    with pytest.raises(ConfigError, match="does not fit the schedule cosine.*num_decay_steps"):
        scheduler_kwargs(wrong, 100)


@pytest.mark.parametrize("preset", ["nano", "tiny"])
@pytest.mark.parametrize("block_size", [64, 256])
def test_counted_flops_are_the_papers_formula(preset: str, block_size: int) -> None:
    """6N + 12 L H Q T (Chowdhery et al. 2022, appendix B), N without norms; the tied table counts once, as the head."""
    model = build_causal_lm(ModelConfig(preset=preset), FewTokens(), block_size)
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 2)
    config = model.config
    formula = 6 * matrices + 12 * config.num_hidden_layers * config.hidden_size * block_size
    assert training_flops_per_token(model, block_size) == formula


def test_untied_embedding_table_costs_no_flops() -> None:
    sizes = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    flops = [
        training_flops_per_token(
            build_causal_lm(ModelConfig(config=sizes | {"tie_word_embeddings": tied}), FewTokens(), 16), 16
        )
        for tied in (True, False)
    ]
    assert flops[0] == flops[1]


def test_parameters_by_hand() -> None:
    model = build_causal_lm(ModelConfig(preset="nano"), FewTokens(), 16)
    width, mlp, layers = 128, math.ceil(128 * 8 / 3 / 64) * 64, PRESETS["nano"]["num_hidden_layers"]
    assert mlp == PRESETS["nano"]["intermediate_size"] == 384
    expected = 64 * width + layers * (4 * width**2 + 3 * width * mlp + 2 * width) + width
    assert count_parameters(model) == {"total": expected, "trainable": expected, "embedding": 64 * width}
