"""The cost tape against numbers worked out by hand."""

from __future__ import annotations

from tuner.models.cost import Cost, CostTape


def test_nothing_costs_nothing():
    assert CostTape((32, 32, 3)).cost == Cost(0, 0, 0)


def test_a_strided_convolution():
    tape = CostTape((5, 4, 3))
    tape.convolution(8, 3, strides=2)
    # 3·3·3·8 weights, each used at 3·2 places.
    assert tape.cost == Cost(parameters=216, macs=216 * 6, activations=6 * 8)
    assert (tape.height, tape.width, tape.channels) == (3, 2, 8)


def test_bias_and_normalization_cost_parameters_alone():
    tape = CostTape((4, 4, 5))
    tape.bias()
    tape.batch_normalization()
    assert tape.cost == Cost(5 + 10, 0, 0)


def test_a_side_convolution_leaves_the_main_path():
    tape = CostTape((4, 4, 6))
    tape.side_convolution(channels=3, filters=6)
    assert tape.cost == Cost(18, 18 * 16, 96)
    assert tape.channels == 6


def test_pool_concatenation_and_head():
    tape = CostTape((5, 5, 2))
    tape.average_pool(2)
    tape.concatenate(3)
    tape.global_average_pool()
    tape.dense(7)
    assert tape.cost == Cost(parameters=6 * 7, macs=5 * 7, activations=8 + 20 + 5 + 7)
