"""The `data:` section of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from tuner.data import find_dataset, is_path
from tuner.errors import InputError

MAX_SIZE = 10_000  # pixels of a side
_Side = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Augment = Literal["crop", "flip", "cutout"]

_CLOSED = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


def in_order(names: Iterable[Augment]) -> tuple[Augment, ...]:
    """The order in which they are done, however they were written: one experiment, one key."""
    given = list(names)
    if len(set(given)) < len(given):
        raise ValueError("names the same augmentation twice")
    return tuple(name for name in get_args(Augment) if name in given)


Augmentations = Annotated[
    tuple[Augment, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    AfterValidator(in_order),
]


class DataConfig(BaseModel):
    """Which images a trial sees, and what is done to them."""

    model_config = _CLOSED

    dataset: str = Field(
        "cifar100",
        description="Name of a data set, path to an .npz (x_train, y_train[, x_test, y_test]), to "
        "a folder with one folder of images for each class (or train/ and test/ with them), or "
        "package.module:function that returns such arrays.",
    )
    image_size: _Side | tuple[_Side, _Side] | None = Field(
        None,
        description="Of a folder of images: the size to which they are resized, as 64 or [64, 96] "
        "(height, width); null: they are of one size.",
        json_schema_extra={"words": "64, or [64, 96] (height, width), or null"},
    )
    validation: int | float = Field(
        5000,
        description="Images held out of training, of every class its share: a whole number is a "
        "count, a number between 0 and 1 a fraction.",
        json_schema_extra={"exclusiveMinimum": 0},
    )
    train_images: int | None = Field(
        None, ge=1, description="Train on this many images, of every class its share; null: on all."
    )
    augment: Augmentations = Field(
        (),
        description="Done to training images, on the device: crop (random 4-pixel shift), "
        "flip (left-right, half of the time), cutout (an 8x8 square set to the mean). May be left "
        "open, as the only value of the section.",
    )
    normalize: bool = Field(
        True,
        description="Whether the network gets images of mean 0 and standard deviation 1 per "
        "channel (of the training images), or, with false, pixels as they are.",
    )
    seed: int = Field(0, ge=0, description="Seed of the validation split and of the subset.")

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        try:
            find_dataset(dataset)
        except InputError as error:
            problem = error.problems[0]
            told = (problem.what, f"expected {problem.expected}", problem.mend)
            raise ValueError("; ".join(filter(None, told))) from error
        return dataset

    @field_validator("image_size")
    @classmethod
    def _height_and_width(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return None
        dataset = info.data.get("dataset", "")
        if dataset and (dataset.endswith(".npz") or not is_path(dataset)):
            what = f"has no effect: {dataset} is no folder of images; expected null"
            raise ValueError(what)
        return (value, value) if isinstance(value, int) else value

    @field_validator("validation", mode="before")
    @classmethod
    def _count_or_fraction(cls, value: Any) -> Any:
        if value == "test":
            raise ValueError("a search never sees the test images; tuner confirm does")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("expected a number of images, or a fraction between 0 and 1")
        if isinstance(value, int) and value < 1:
            raise ValueError("a search needs validation images: expected 1 or more")
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("a fraction is between 0 and 1; a number of images is written whole")
        return value


class SearchedData(BaseModel):
    """What of the section may differ between the trials of an experiment."""

    model_config = _CLOSED

    augment: Augmentations = ()


class FinalDataConfig(DataConfig):
    """For `tuner confirm` alone: train on all training images, and read the test images.

    It has no default, so that a trial's key always says that it was trained like this.
    """

    validation: Literal["test"]  # type: ignore[assignment]

    @field_validator("validation", mode="before")
    @classmethod
    def _count_or_fraction(cls, value: Any) -> Any:
        return value


def closed_data(data: DataConfig, values: Mapping[str, Any]) -> DataConfig:
    """The section with the values of a trial, or of a whole space, in place of its own."""
    return data.model_copy(update={n: tuple(value) for n, value in values.items()})


def final_data(data: DataConfig, train_images: int | None = None) -> FinalDataConfig:
    """The same data without held-out images; `train_images` None means all there are."""
    changed = {"validation": "test", "train_images": train_images}
    return FinalDataConfig.model_validate(data.model_dump() | changed)
