"""The scaling curve on paper, against values worked out by hand."""

import pytest
from conftest import REPOSITORY

from benchmarks import scaling_curve
from benchmarks.scaling_curve import Cluster, Workload, draw, efficiency, lines, ring_seconds, step, waiting_seconds

# 16,384 tokens at 100,000 a second: 0.16384 s. Gradients and weights of 4 GB each, at 0.8 x 450 = 360 GB/s in a node.
WORK = Workload(parameters=10**9, flops_per_token=6e9, units=23)
CLUSTER = Cluster(tokens_per_second=100_000)
NOTHING_HIDDEN = Cluster(tokens_per_second=100_000, overlap_share=0.0)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling_curve, "waiting_seconds", lambda *of, reduces_all: 0.0)


def test_a_ring_sends_n_minus_one_nths_of_the_bytes() -> None:
    assert ring_seconds(8e9, 4, 100e9) == pytest.approx(0.06)
    assert ring_seconds(8e9, 4, 100e9, passes=2) == pytest.approx(0.12)
    assert ring_seconds(8e9, 1, 100e9) == 0


def test_a_call_waits_for_the_hops_of_a_ring_or_of_a_tree_if_that_is_less() -> None:
    assert waiting_seconds(1, 8, reduces_all=True) == 0
    assert waiting_seconds(8, 8, reduces_all=False) == pytest.approx(8.4e-6 + 7 * 3.4e-6)
    assert waiting_seconds(1024, 8, reduces_all=False) == pytest.approx(8.4e-6 + 896 * 3.4e-6 + 127 * 14e-6)
    assert waiting_seconds(8, 8, reduces_all=True) == pytest.approx(8.4e-6 + 2 * 7 * 3.4e-6)  # the ring
    assert waiting_seconds(16, 8, reduces_all=True) == pytest.approx(8.4e-6 + 2 * (7 * 4e-6 + 14e-6))  # the tree
    assert waiting_seconds(128, 1, reduces_all=True) == pytest.approx(8.4e-6 + 2 * 7 * 14e-6)


def test_ddp_sends_two_nths_less_one_of_the_gradients_and_hides_it_behind_the_backward_pass() -> None:
    found = step(WORK, NOTHING_HIDDEN, 2, "ddp")
    sent = 4e9 / 360e9 + 153 * (8.4e-6 + 2 * 3.4e-6)  # 153 buckets of 25 MiB
    assert (found.compute, found.sent) == (pytest.approx(0.16384), pytest.approx(sent))
    assert found.exposed == pytest.approx(sent) and found.seconds == pytest.approx(0.16384 + sent)
    assert step(WORK, CLUSTER, 2, "ddp").exposed == 0  # 0.0134 s behind 0.8 x 2/3 x 0.164 s
    slow = Cluster(tokens_per_second=100_000, link_bytes_per_second=4.5e9)
    found = step(WORK, slow, 2, "ddp")
    assert found.exposed == pytest.approx(found.sent - 0.8 * 0.16384 * 2 / 3)


def test_between_nodes_all_cards_of_a_node_bound_a_ring(no_waiting: None) -> None:
    sent = step(WORK, CLUSTER, 16, "ddp").sent
    assert sent == pytest.approx(2 * 15 / 16 * 4e9 / (0.8 * 8 * 50e9))


def test_fsdp2_sends_half_as_much_again_as_ddp_in_each_micro_batch(no_waiting: None) -> None:
    ddp, sharded = (step(WORK, CLUSTER, 8, strategy).sent for strategy in ("ddp", "fsdp2"))
    assert sharded == pytest.approx(1.5 * ddp)
    accumulating = Workload(10**9, 6e9, 23, accumulation=4)
    assert step(accumulating, CLUSTER, 8, "ddp").sent == pytest.approx(ddp)
    assert step(accumulating, CLUSTER, 8, "fsdp2").sent == pytest.approx(4 * sharded)
    halved = Cluster(tokens_per_second=100_000, gathered_bytes=2)
    assert step(WORK, halved, 8, "fsdp2").sent == pytest.approx(ddp)


def test_hybrid_sharding_is_fsdp2_in_a_node_and_an_eighth_of_the_gradients_between_nodes(no_waiting: None) -> None:
    inside = step(WORK, CLUSTER, 8, "fsdp2").sent
    assert step(WORK, CLUSTER, 8, "hybrid") == step(WORK, CLUSTER, 8, "fsdp2")
    between = step(WORK, CLUSTER, 16, "hybrid").sent - inside
    assert between == pytest.approx(2 * 1 / 2 * (4e9 / 8) / (0.8 * 50e9))
    with pytest.raises(ValueError, match="12 processes are no whole number of nodes of 8"):
        step(WORK, CLUSTER, 12, "hybrid")


def test_speed_is_the_peaks_share_and_recomputation_a_third_more_work() -> None:
    rate = 989.4e12 * 0.4 / 6e9
    assert step(WORK, Cluster(), 1, "ddp").seconds == pytest.approx(16_384 / rate)
    again = Workload(10**9, 6e9, 23, recomputed=True)
    assert step(again, Cluster(), 1, "ddp").seconds == pytest.approx(4 / 3 * 16_384 / rate)
    assert efficiency(WORK, Cluster(), 1, "fsdp2") == (1.0, 1.0)


def test_the_page_shows_what_the_command_prints(tmp_path) -> None:
    page = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
    printed = [scaling_curve.assumptions(Cluster()), *lines(Cluster())]
    assert len(printed) > 20
    assert [line for line in printed if line not in page] == []
    draw(Cluster(), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == (REPOSITORY / "docs" / "scaling.svg").read_text()
