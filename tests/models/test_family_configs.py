"""What each family's configuration admits, and how it says no."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmarks import gpu
from tuner.errors import InputError
from tuner.models import FAMILIES, family_of


def error_of(name, **values):
    with pytest.raises(ValidationError) as caught:
        FAMILIES[name].config(**values)
    (error,) = caught.value.errors()
    return error["loc"], error["msg"]


@pytest.mark.parametrize(
    ("name", "values", "words", "near"),
    [
        ("resnet", {"depth": 9}, "6n + 2", "8 and 14"),
        ("plain", {"depth": 57}, "6n + 2", "56 and 62"),
        ("resnet", {"depth": 21, "block": "basic"}, "6n + 2", "20 and 26"),
        ("resnet", {"depth": 1201}, "6n + 2", "1196 and 1202"),
        ("resnet", {"depth": 8, "block": "bottleneck"}, "9n + 2", "11"),
        ("resnet", {"depth": 26, "block": "bottleneck"}, "with bottleneck blocks", "20 and 29"),
        ("resnet", {"depth": 1202, "block": "bottleneck"}, "9n + 2", "1199"),
        (
            "resnet",
            {"stem": "imagenet"},
            "18, 34, 50, 101, 152 with the imagenet stem",
            "18 and 34",
        ),
        (
            *("resnet", {"stem": "imagenet", "depth": 50, "block": "basic"}),
            *("stem and basic blocks", "34"),
        ),
        (
            *("resnet", {"stem": "imagenet", "depth": 34, "block": "bottleneck"}),
            *("50, 101, 152", "50"),
        ),
        ("wide_resnet", {"depth": 11}, "6n + 4", "10 and 16"),
        ("wide_resnet", {"depth": 602}, "6n + 4", "598 and 604"),
        ("highway", {"depth": 6}, "depth must be 3n", "5 and 8"),
        ("highway", {"depth": 1201}, "depth must be 3n", "1199 and 1202"),
        ("densenet", {"depth": 41}, "", "40 and 43"),
        ("densenet", {"depth": 6}, "", "7"),
        ("densenet", {"depth": 43, "bottleneck": True}, "", "40 and 46"),
        # The default depth of 40 does not suit four blocks with bottleneck.
        ("densenet", {"num_blocks": 4, "bottleneck": True}, "", "36 and 44"),
    ],
)
def test_a_wrong_depth_names_the_nearest_and_they_are_taken(name, values, words, near):
    loc, message = error_of(name, **values)
    assert loc == ("depth",)
    assert words in message
    assert message.endswith(f"nearest: {near}")
    for depth in near.split(" and "):
        assert FAMILIES[name].config(**{**values, "depth": int(depth)})


@pytest.mark.parametrize(("filters", "near"), [(15, "8 and 16"), (4, "8"), (33, "32 and 40")])
def test_filters_divide_into_groups(filters, near):
    loc, message = error_of("dual_path", groups=8, bottleneck_filters=filters)
    assert loc == ("bottleneck_filters",)
    assert message.endswith(f"multiple of groups (8); nearest: {near}")


@pytest.mark.parametrize("depth", range(7, 60))
def test_densenet_depths_that_are_named_as_near_are_taken(depth):
    try:
        FAMILIES["densenet"].config(depth=depth, bottleneck=True)
    except ValidationError as error:
        for near in error.errors()[0]["msg"].split("nearest: ")[1].split(" and "):
            assert FAMILIES["densenet"].config(depth=int(near), bottleneck=True)


def test_a_wrong_field_is_not_blamed_on_another():
    assert error_of("densenet", num_blocks=0)[0] == ("num_blocks",)
    assert error_of("densenet", growth_rate=0)[0] == ("growth_rate",)


def test_compression_must_leave_channels():
    loc, message = error_of("densenet", compression=0.001)
    assert loc == ("compression",)
    assert "no channels" in message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("resnet", {"depth": 1_000_000}),
        ("resnet", {"depth": "20"}),
        ("resnet", {"depth": True}),
        ("resnet", {"dropout": 1.0}),
        ("resnet", {"dropout": -0.1}),
        ("resnet", {"shortcut": "conv"}),
        ("resnet", {"family": "densenet"}),
        ("resnet", {"dept": 20}),
        ("densenet", {"compression": 0.0}),
        ("densenet", {"compression": 1.1}),
        ("densenet", {"compression": float("nan")}),
        ("densenet", {"dropout": float("nan")}),
        ("densenet", {"bottleneck": "no"}),
        ("plain", {"activation": "softplus"}),
        ("plain", {"pooling": "min"}),
        ("resnet", {"block": "wide"}),
        ("resnet", {"stem": "imagnet"}),
        ("dual_path", {"growth_multipliers": [1.0]}),
        ("dual_path", {"growth_multipliers": [1.0] * 5}),
        ("dual_path", {"growth_multipliers": [1.0, 1.0, 1.0, 0.0]}),
        ("resnet", {"stochastic_depth": 1.0}),
        ("plain", {"dropout": 0.1}),
    ],
)
def test_refuses_with_the_field_as_location(name, values):
    loc, _ = error_of(name, **values)
    assert loc[:1] == tuple(values)


@pytest.mark.parametrize(
    ("name", "values", "least", "where", "mend"),
    [
        ("resnet", {"stem": "imagenet", "depth": 18}, 32, "model.stem", ""),
        ("dual_path", {"stem": "cifar", "depth": 14}, 8, "model.stem", ""),
        ("dual_path", {"stem": "imagenet", "depth": 14}, 32, "model.stem", ""),
        ("inception", {"stem": "cifar"}, 4, "model.stem", ""),
        ("inception", {"stem": "imagenet"}, 32, "model.stem", ""),
        ("densenet", {"num_blocks": 3, "depth": 7}, 4, "model.num_blocks", "at most 2"),
        ("lenet", {"kernel_size": 3}, 8, "model.kernel_size", "use family mlp"),
        ("lenet", {"kernel_size": 7}, 16, "model.kernel_size", "set kernel_size to at most 6"),
    ],
)
def test_images_too_small_are_refused_with_the_least_size(name, values, least, where, mend):
    family = FAMILIES[name]
    config = family.config(**values)
    for refuses in (family.cost, family.build):
        with pytest.raises(InputError, match=f"at least {least}x{least}") as caught:
            refuses(config, (64, least - 1, 3), 10)
        (problem,) = caught.value.problems
        assert (problem.where, mend in problem.mend) == (where, True), problem
    assert family.cost(config, (least, least, 3), 10).parameters > 0


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(InputError, match="did you mean densenet") as caught:
        family_of("densnet")
    assert caught.value.problems[0].where == "model.family"
    assert family_of("resnet") is FAMILIES["resnet"]


def test_a_list_of_units_says_how_many_layers_there_are():
    loc, message = error_of("mlp", hidden_units=[256, 128], num_layers=3)
    assert (loc, "left out" in message) == (("num_layers",), True)
    assert FAMILIES["mlp"].config(hidden_units=[9, 8, 7]).layers == [9, 8, 7]


@pytest.mark.parametrize("model", [case["model"] for _, case in gpu.ROWS + gpu.SMALL_ROWS])
def test_the_networks_that_are_measured_on_a_gpu_can_be_had(model):
    family = family_of(model["family"])
    assert family.cost(family.config(**model), (32, 32, 3), 100).macs
