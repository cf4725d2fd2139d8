"""What is counted along a network, layer by layer."""

from __future__ import annotations

from tuner.models.family import Cost, CostTape


def test_a_strided_convolution():
    tape = CostTape((5, 4, 3))
    tape.convolution(8, 3, strides=2)
    # 3·3·3·8 weights, each used at 3·2 places.
    assert tape.cost == Cost(parameters=216, macs=216 * 6, activations=6 * 8)
    assert (tape.height, tape.width, tape.channels) == (3, 2, 8)


def test_bias_and_normalization_cost_parameters_alone():
    tape = CostTape((4, 4, 3))
    tape.convolution(5, 1, bias=True)
    tape.batch_normalization()
    assert tape.cost == Cost(parameters=15 + 5 + 10, macs=15 * 16, activations=16 * 5)


def test_a_branch_begins_where_the_tape_went_back_to():
    tape = CostTape((4, 4, 3))
    start = tape.shape
    tape.convolution(6, 1)
    tape.go_to(start)
    tape.convolution(2, 1)
    tape.concatenate(6)
    assert tape.shape == (4, 4, 8)
    assert tape.cost == Cost(18 + 6, (18 + 6) * 16, (6 + 2 + 8) * 16)


def test_pool_concatenation_and_head():
    tape = CostTape((5, 5, 2))
    tape.pool(2)
    tape.concatenate(3)
    tape.global_average_pool()
    tape.dense(7)
    assert tape.cost == Cost(parameters=6 * 7, macs=5 * 7, activations=8 + 20 + 5 + 7)
