"""What each family's configuration admits, and how it says no."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tuner.errors import InputError
from tuner.models import FAMILIES, family_of, runtime_fields


def error_of(name, **values):
    with pytest.raises(ValidationError) as caught:
        FAMILIES[name].config(**values)
    (error,) = caught.value.errors()
    return error["loc"], error["msg"]


@pytest.mark.parametrize("name", ["resnet", "plain"])
@pytest.mark.parametrize(("depth", "near"), [(9, "8 and 14"), (21, "20 and 26"), (57, "56 and 62")])
def test_depth_is_6n_plus_2(name, depth, near):
    loc, message = error_of(name, depth=depth)
    assert loc == ("depth",)
    assert "6n + 2" in message
    assert message.endswith(f"nearest: {near}")


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"depth": 41}, "40 and 43"),
        ({"depth": 6}, "7"),
        ({"depth": 43, "bottleneck": True}, "40 and 46"),
        # The default depth of 40 does not suit four blocks with bottleneck.
        ({"num_blocks": 4, "bottleneck": True}, "36 and 44"),
    ],
)
def test_densenet_shares_its_depth_among_the_blocks(values, near):
    loc, message = error_of("densenet", **values)
    assert loc == ("depth",)
    assert message.endswith(f"nearest: {near}")


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
        ("resnet", {"stochastic_depth": 1.0}),
        ("plain", {"dropout": 0.1}),
    ],
)
def test_refuses_with_the_field_as_location(name, values):
    loc, _ = error_of(name, **values)
    assert loc == tuple(values)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("resnet", ("dropout", "stochastic_depth")),
        ("wide_resnet", ("dropout", "stochastic_depth")),
        ("densenet", ("dropout",)),
        ("dual_path", ("dropout",)),
        ("inception", ("dropout",)),
        ("plain", ()),
    ],
)
def test_rates_are_the_runtime_fields(name, fields):
    assert runtime_fields(FAMILIES[name].config) == fields


def test_images_too_small_for_the_transitions_are_refused():
    family = FAMILIES["densenet"]
    config = family.config(num_blocks=3, depth=7)
    for refuses in (family.cost, family.build):
        with pytest.raises(InputError, match="at least 4x4") as caught:
            refuses(config, (3, 8, 3), 10)
        assert "at most 2" in caught.value.problems[0].mend
    assert family.cost(config, (4, 4, 3), 10).parameters > 0


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(InputError, match="did you mean densenet") as caught:
        family_of("densnet")
    assert caught.value.problems[0].where == "model.family"
    assert family_of("resnet") is FAMILIES["resnet"]
