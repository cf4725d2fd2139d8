from __future__ import annotations

import pytest
from pydantic import ValidationError

from tuner.data.config import DataConfig, final_data


def test_the_defaults_are_those_of_the_contract():
    config = DataConfig()
    assert (config.dataset, config.validation, config.train_images) == ("cifar100", 5000, None)
    assert (config.augment, config.seed) == ((), 0)


def test_a_written_config_reads_back_equal():
    config = DataConfig(dataset="synthetic", validation=0.25, augment=["flip"], seed=3)
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


def test_augmentations_are_equal_in_whatever_order_they_are_written():
    one, other = (DataConfig(augment=names) for names in (["flip", "crop"], ["crop", "flip"]))
    assert one == other
    assert one.augment == ("crop", "flip")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dataset", "cifar", "did you mean cifar10"),
        ("dataset", 7, "string"),
        ("validation", 0, "needs validation images"),
        ("validation", -3, "needs validation images"),
        ("validation", 0.0, "between 0 and 1"),
        ("validation", 1.0, "between 0 and 1"),
        ("validation", float("nan"), "between 0 and 1"),
        ("validation", "5000", "expected a number"),
        ("validation", True, "expected a number"),
        ("validation", None, "expected a number"),
        ("train_images", 0, "greater than or equal to 1"),
        ("train_images", 1.5, "integer"),
        ("augment", ["crop", "crop"], "twice"),
        ("image_size", 64, "has no effect: cifar100 is no folder of images"),
        ("normalize", 1, "boolean"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", "1", "integer"),
    ],
)
def test_a_wrong_value_is_one_error_at_its_field(field, value, message):
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate({field: value})
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    assert message in error["msg"]


def test_an_unknown_augmentation_and_an_unknown_key_are_refused():
    with pytest.raises(ValidationError, match="'crop', 'flip' or 'cutout'"):
        DataConfig(augment=["rotate"])
    with pytest.raises(ValidationError, match="Extra inputs"):
        DataConfig.model_validate({"datset": "cifar10"})


def test_one_number_is_height_and_width():
    for size in (64, [64, 64]):
        config = DataConfig.model_validate_json(f'{{"dataset": "pets/", "image_size": {size}}}')
        assert config.image_size == (64, 64)
        assert DataConfig.model_validate_json(config.model_dump_json()) == config
        assert final_data(config).image_size == (64, 64)
