"""What is counted along a network, layer by layer."""

from __future__ import annotations

from tuner.models.family import Cost, CostTape


def test_nothing_costs_nothing():
    assert CostTape((32, 32, 3)).cost == Cost(0, 0, 0)


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


def test_groups_see_their_own_channels_only():
    tape = CostTape((4, 4, 6))
    tape.convolution(8, 3, groups=2)
    assert tape.cost.parameters == 3 * 3 * 3 * 8


def test_without_padding_the_border_is_lost():
    tape = CostTape((32, 32, 1))
    tape.convolution(6, 5, padding="valid")
    assert tape.shape == (28, 28, 6)
    tape.pool(3, 2, padding="same")
    assert tape.shape == (14, 14, 6)
    tape.pool(3, 2)
    assert tape.shape == (6, 6, 6)
    tape.flatten()
    assert tape.shape == (1, 1, 216)


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
