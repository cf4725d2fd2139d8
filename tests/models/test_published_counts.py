"""Parameters and multiply-adds that others have published.

All parameters are trainable ones: no moving averages. Sources:

- resnet: He et al. 2016, Table 6 (0.27M, 0.85M, 1.7M; option A shortcuts, 10 classes); what
  imgclsmob checks its CIFAR ResNets and PreResNets against (option B); `num_params` and `_ops` of
  torchvision's weights.
- wide_resnet: imgclsmob; Zagoruyko and Komodakis 2016, Table 4, has 36.5M for WRN-28-10 and 17.1M
  for WRN-16-10.
- densenet: Huang et al. 2017, Table 2, has 1.0M (L=40, k=12), 0.8M, 15.3M and 25.6M (BC); the exact
  numbers of DenseNet-BC are imgclsmob's.
- dual_path: DPN-98, 107 and 131 are imgclsmob's; DPN-92 follows from the same arithmetic with the
  widths of timm's `dpn92`. The multiply-adds are those of the authors' page (cypw/DPNs).
- inception: Caffe's `bvlc_googlenet` without its auxiliary classifiers (6,990,272 weights and 8,280
  biases), and a sum over the paper's Table 1, which speaks of about 1.5 billion multiply-adds.
- lenet: LeCun et al. 1998 with a C3 that sees all maps before it (see test_networks.py).
"""

from __future__ import annotations

import pytest

from tuner.models import FAMILIES

B = {"shortcut": "projection"}
PRE = {**B, "pre_activation": True}
BC = {"bottleneck": True, "compression": 0.5}
DPN_92 = {
    "stem": "imagenet", "depth": 92, "stem_filters": 64, "groups": 32, "bottleneck_filters": 96,
    "residual_filters": 256, "growth_rate": 16, "growth_multipliers": [1.0, 2.0, 1.5, 8.0],
}  # fmt: skip
DPN_98 = {
    **DPN_92, "depth": 98, "stem_filters": 96, "groups": 40, "bottleneck_filters": 160,
    "growth_multipliers": [1.0, 2.0, 2.0, 8.0],
}  # fmt: skip
DPN_131 = {**DPN_98, "depth": 131, "stem_filters": 128}
DPN_107 = {
    **DPN_131, "depth": 107, "groups": 50, "bottleneck_filters": 200, "growth_rate": 20,
    "growth_multipliers": [1.0, 3.2, 3.2, 6.4],
}  # fmt: skip
GOOGLENET = {"stem": "imagenet", "width": 1.0, "batch_normalization": False}

# (family, values, classes, parameters)
CIFAR_COUNTS = [
    ("resnet", {"depth": 20, "shortcut": "identity"}, 10, 269_722),
    ("resnet", {"depth": 56, "shortcut": "identity"}, 10, 853_018),
    ("resnet", {"depth": 110, "shortcut": "identity"}, 10, 1_727_962),
    ("resnet", {"depth": 20, "shortcut": "identity"}, 100, 275_572),
    ("resnet", {"depth": 20, **B}, 10, 272_474),
    ("resnet", {"depth": 20, **B}, 100, 278_324),
    ("resnet", {"depth": 56, **B}, 100, 861_620),
    ("resnet", {"depth": 110, **B}, 100, 1_736_564),
    ("resnet", {"depth": 164, "block": "bottleneck", **B}, 10, 1_704_154),
    ("resnet", {"depth": 164, "block": "bottleneck", **B}, 100, 1_727_284),
    ("resnet", {"depth": 20, **PRE}, 10, 272_282),
    ("resnet", {"depth": 20, **PRE}, 100, 278_132),
    ("resnet", {"depth": 56, **PRE}, 10, 855_578),
    ("resnet", {"depth": 110, **PRE}, 10, 1_730_522),
    ("resnet", {"depth": 164, "block": "bottleneck", **PRE}, 10, 1_703_258),
    ("resnet", {"depth": 164, "block": "bottleneck", **PRE}, 100, 1_726_388),
    ("wide_resnet", {"depth": 16, "widen_factor": 10}, 10, 17_116_634),
    ("wide_resnet", {"depth": 28, "widen_factor": 10}, 10, 36_479_194),
    ("wide_resnet", {}, 100, 36_536_884),
    ("wide_resnet", {"depth": 40, "widen_factor": 8}, 10, 35_748_314),
    ("wide_resnet", {"depth": 40, "widen_factor": 8}, 100, 35_794_484),
    ("densenet", {"depth": 40, "growth_rate": 12}, 10, 1_019_722),
    ("densenet", {"depth": 100, "growth_rate": 12, **BC}, 10, 769_162),
    ("densenet", {"depth": 100, "growth_rate": 12, **BC}, 100, 800_032),
    ("densenet", {"depth": 250, "growth_rate": 24, **BC}, 10, 15_324_406),
    ("densenet", {"depth": 190, "growth_rate": 40, **BC}, 10, 25_624_430),
]
# (family, values, parameters, billions of multiply-adds)
IMAGENET_COUNTS = [
    ("resnet", {"stem": "imagenet", "depth": 18}, 11_689_512, 1.814),
    ("resnet", {"stem": "imagenet", "depth": 34}, 21_797_672, 3.664),
    ("resnet", {"stem": "imagenet", "depth": 50}, 25_557_032, 4.089),
    ("resnet", {"stem": "imagenet", "depth": 101}, 44_549_160, 7.801),
    ("resnet", {"stem": "imagenet", "depth": 152}, 60_192_808, 11.514),
    # imgclsmob normalizes the stem's 64 channels once more before the first block does.
    ("resnet", {"stem": "imagenet", "depth": 18, "pre_activation": True}, 11_687_848 - 128, None),
    ("resnet", {"stem": "imagenet", "depth": 50, "pre_activation": True}, 25_549_480 - 128, None),
    ("dual_path", DPN_92, 37_668_392, 6.5),
    ("dual_path", DPN_98, 61_570_728, 11.7),
    ("dual_path", DPN_107, 86_917_800, 18.3),
    ("dual_path", DPN_131, 79_254_504, 16.0),
    ("inception", GOOGLENET, 6_998_552, 1.58),
]
# (family, values, classes, millions of multiply-adds of convolutions and dense layers)
CIFAR_MULTIPLY_ADDS = [
    ("resnet", {"depth": 20}, 100, 40.6),
    ("resnet", {"depth": 56}, 100, 125.5),
    ("wide_resnet", {"depth": 28, "widen_factor": 10}, 10, 5_240),
    ("densenet", {"depth": 100, **BC}, 100, 288.0),
    ("densenet", {"depth": 40}, 100, 265.0),
]


def cost(name, values, image_shape, num_classes):
    return FAMILIES[name].cost(FAMILIES[name].config(**values), image_shape, num_classes)


@pytest.mark.parametrize(("name", "values", "num_classes", "parameters"), CIFAR_COUNTS)
def test_parameters_on_cifar(name, values, num_classes, parameters):
    assert cost(name, values, (32, 32, 3), num_classes).parameters == parameters


@pytest.mark.parametrize(("name", "values", "parameters", "billions"), IMAGENET_COUNTS)
def test_parameters_and_multiply_adds_on_imagenet(name, values, parameters, billions):
    found = cost(name, values, (224, 224, 3), 1000)
    assert found.parameters == parameters
    written = len(str(billions).partition(".")[2])
    assert billions in (None, round(found.macs / 1e9, written))


@pytest.mark.parametrize(("name", "values", "num_classes", "millions"), CIFAR_MULTIPLY_ADDS)
def test_multiply_adds_on_cifar(name, values, num_classes, millions):
    found = cost(name, values, (32, 32, 3), num_classes).macs
    assert found / 1e6 == pytest.approx(millions, rel=0.002)
