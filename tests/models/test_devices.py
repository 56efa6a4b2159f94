"""Which device a name stands for, among any that a machine might have."""

import re

import pytest

from ddpmcodec.errors import ModelError
from ddpmcodec.format.header import Header
from ddpmcodec.models import devices
from ddpmcodec.models.devices import VulkanDevice
from ddpmcodec.precision import allows_vulkan

SOFTWARE, VIRTUAL = VulkanDevice(0, "software", "llvmpipe"), VulkanDevice(1, "virtual", "Virtio")
INTEGRATED, DISCRETE, SECOND = VulkanDevice(2, "integrated", "Iris"), VulkanDevice(3, "discrete", "Arc"), VulkanDevice(4, "discrete", "Arc")
ALL = [SOFTWARE, VIRTUAL, INTEGRATED, DISCRETE, SECOND]


def test_names():
    for name in (*devices.DEVICES, "vulkan:0", "vulkan:12"):
        devices.check(name)
    for name in ("", "tpu", "cuda:0", "vulkan:", "vulkan:x", "vulkan:-1", "vulkan:1000", "vulkan:1\n", "Vulkan", "vulkan:\u0661"):
        with pytest.raises(ValueError, match="is not one of auto, cpu, vulkan, cuda, mps, xpu, vulkan:N"):
            devices.check(name)
    assert [name for name in (*devices.DEVICES, "vulkan:0") if devices.is_vulkan(name)] == ["vulkan", "vulkan:0"]


@pytest.mark.parametrize(
    ("found", "best"),
    [([], None), ([SOFTWARE, VIRTUAL], None), ([SOFTWARE, INTEGRATED], INTEGRATED), (ALL, DISCRETE), (ALL[::-1], SECOND)],
)
def test_the_best_is_a_gpu_of_its_own_memory_then_one_of_the_processors(found, best):
    assert devices.best(found) == best
    if best is not None:
        assert devices.named("vulkan", found) == best


def test_any_can_be_named_by_its_number():
    assert [devices.named(f"vulkan:{n}", ALL) for n in range(5)] == ALL
    assert str(devices.named("vulkan:0", ALL)) == "vulkan:0 llvmpipe"


@pytest.mark.parametrize(
    ("name", "found", "text"),
    [
        ("vulkan", [], "there is no Vulkan device here"),
        ("vulkan:0", [], "there is no Vulkan device here"),
        ("vulkan", [SOFTWARE], "there is no GPU with Vulkan here, only vulkan:0 llvmpipe (software)"),
        ("vulkan:9", [SOFTWARE, VIRTUAL], "there is no vulkan:9 here, only vulkan:0 llvmpipe (software), vulkan:1 Virtio (virtual)"),
    ],
)
def test_one_that_is_not_here(name, found, text):
    with pytest.raises(ModelError, match=f"^{re.escape(text)}$"):
        devices.named(name, found)


def test_what_torch_finds():
    for found in (None, "cuda", "mps", "xpu", "hpu"):
        assert devices.of_torch("auto", found) == ("cuda" if found == "cuda" else "cpu")
        for name in devices.OF_TORCH:
            if name == found:
                assert devices.of_torch(name, found) == name
                continue
            with pytest.raises(ModelError, match=f"torch finds no {name.upper()} device here"):
                devices.of_torch(name, found)


def test_what_auto_prefers_to_a_processor():
    assert [devices.is_better(gpu, bfloat16) for gpu in (DISCRETE, INTEGRATED) for bfloat16 in (False, True)] == [True, True, True, False]


def test_gpus_are_looked_for_where_linux_has_a_node(tmp_path):
    def found(system="linux"):
        return devices.may_have_cuda(system, tmp_path), devices.may_have_vulkan(system, tmp_path)

    assert found() == (False, False)
    assert (found("darwin"), found("win32")) == ((False, True), (True, True))
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri/card0").touch()
    (tmp_path / "nvidia-caps").touch()
    assert found() == (False, False)
    (tmp_path / "dri/renderD128").touch()
    assert found() == (False, True)
    (tmp_path / "nvidiactl").touch()
    assert found() == (True, True)


def test_auto_is_vulkan_for_large_pictures_only_and_never_for_lossless_ones(model):
    def allowed(width, height, lossless):
        return allows_vulkan(Header(width, height, model.name, model.hash, model.levels, model.start), lossless)

    assert [allowed(256, 256, False), allowed(255, 257, False), allowed(4000, 3000, True)] == [True, False, False]
