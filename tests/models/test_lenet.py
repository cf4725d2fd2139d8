"""LeNet-5: its published size, the images that it takes, its choices."""

from __future__ import annotations

import keras
import pytest

from tuner.errors import InputError
from tuner.models import FAMILIES

LENET = FAMILIES["lenet"]


def parameters(image_shape=(32, 32, 1), num_classes=10, **values):
    return LENET.cost(LENET.config(**values), image_shape, num_classes).parameters


def built(image_shape=(32, 32, 1), **values):
    with keras.StatelessScope(initialize_variables=False):
        return LENET.build(LENET.config(**values), image_shape, 10)


def shapes(model):
    return [tuple(layer.output.shape[1:]) for layer in model.layers]


def test_its_61706_parameters_by_hand():
    # Convolutions of 5x5 with 6 and 16 filters, dense layers of 120, 84 and 10 units; biases each.
    # C1, C5 and F6 are the paper's (156, 48,120 and 10,164; section II.B). Its C3 has 1,516, since
    # it sees the maps before it in part only.
    c1 = (5 * 5 * 1 + 1) * 6
    c3 = (5 * 5 * 6 + 1) * 16
    c5 = (5 * 5 * 16 + 1) * 120
    f6 = (120 + 1) * 84
    head = (84 + 1) * 10
    assert [c1, c3, c5, f6, head] == [156, 2_416, 48_120, 10_164, 850]
    assert parameters() == c1 + c3 + c5 + f6 + head == 61_706


def test_its_multiply_adds_by_hand():
    # Feature maps of 28x28 and 10x10.
    expected = 28 * 28 * 150 + 10 * 10 * 2_400 + 400 * 120 + 120 * 84 + 84 * 10
    assert LENET.cost(LENET.config(), (32, 32, 1), 10).macs == expected


def test_the_maps_have_the_papers_sizes():
    assert [s for s in shapes(built()) if len(s) == 3] == [
        (32, 32, 1),
        *[(28, 28, 6)] * 2,
        (14, 14, 6),
        *[(10, 10, 16)] * 2,
        (5, 5, 16),
    ]


def test_digits_of_28_pixels_are_padded_to_the_same_network():
    assert parameters((28, 28, 1)) == 61_706
    assert (5, 5, 16) in shapes(built((28, 28, 1)))


def test_colours_add_to_the_first_convolution_alone():
    assert parameters((32, 32, 3)) == 61_706 + 5 * 5 * 2 * 6


def test_normalization_takes_the_place_of_biases():
    # Gamma and beta instead of a bias, of 6 + 16 filters and 120 + 84 units.
    assert parameters(batch_normalization=True) == 61_706 + 6 + 16 + 120 + 84


def test_its_defaults_are_the_papers():
    config = LENET.config()
    assert (config.activation, config.pooling) == ("tanh", "average")
    kinds = [type(layer).__name__ for layer in built().layers]
    assert kinds.count("AveragePooling2D") == 2
    assert [type(layer).__name__ for layer in built(pooling="max").layers].count(
        "MaxPooling2D"
    ) == 2


@pytest.mark.parametrize(("kernel_size", "least"), [(3, 8), (5, 12), (7, 16)])
def test_images_too_small_are_refused_with_the_least_size(kernel_size, least):
    config = LENET.config(kernel_size=kernel_size)
    assert LENET.cost(config, (least, least, 3), 10).parameters > 0
    for refuses in (LENET.cost, LENET.build):
        with pytest.raises(InputError, match=f"at least {least}x{least}") as caught:
            refuses(config, (40, least - 1, 3), 10)
        assert caught.value.problems[0].where == "model.kernel_size"


def test_a_refusal_says_how_to_mend_it():
    for size, mend in ((10, "set kernel_size to at most 4"), (7, "use family mlp")):
        with pytest.raises(InputError) as caught:
            LENET.cost(LENET.config(), (size, size, 1), 10)
        assert caught.value.problems[0].mend == mend


@pytest.mark.parametrize("size", [8, 9, 15, 31, 32, 33, 50])
def test_every_admitted_size_can_be_built(size):
    assert built((size, size, 1), kernel_size=3).output.shape == (None, 10)
