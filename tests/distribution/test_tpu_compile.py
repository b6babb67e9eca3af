"""The training step of every family compiles for a TPU, ahead of time and without one. Nothing runs on a TPU."""

import importlib.util

import keras
import pytest
from cases import MODELS, names
from support.paths import ROOT

if keras.backend.backend() != "jax":
    pytest.skip("KERAS_BACKEND=jax", allow_module_level=True)

SPEC = importlib.util.spec_from_file_location("tpu_compile", ROOT / "benchmarks" / "tpu_compile.py")
tpu_compile = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tpu_compile)

FAST = "test_wide_resnet"
ALL = [*MODELS, *tpu_compile.SMALLEST]


@pytest.mark.parametrize("name, arguments", [
    pytest.param(*case, id=label, marks=() if case[0] == FAST else pytest.mark.slow)
    for case, label in zip(ALL, names(ALL), strict=True)])
def test_the_step_of_a_family_lowers_for_a_tpu(name, arguments):
    lowered, batch = tpu_compile.lower(tpu_compile.trainer(name, arguments))
    text = lowered.as_text()
    assert "stablehlo.convolution" in text and f"tensor<{batch}x" in text
    assert "tensor<?" not in text, "a shape is not static"


@pytest.mark.slow
@pytest.mark.parametrize("name, arguments", ALL, ids=names(ALL))
def test_the_step_of_a_family_compiles_for_four_chips(name, arguments):
    pytest.importorskip("libtpu")
    chips = tpu_compile.topology("v5e:2x2")
    found = tpu_compile.compile_step(name, arguments, "mixed_bfloat16", chips)
    assert found["batch"] == 4 * tpu_compile.IMAGES and found["gflop"] > 0 and found["mib"] > 0
