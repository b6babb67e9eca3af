"""Recipes of published results beyond the four papers: their tables, value by value, and a short run of airbench."""

import keras
import numpy as np
import pytest

from keras_tricks import training
from keras_tricks.recipe import load_recipe
from keras_tricks.run.build import build_loss, build_optimizer, plan_of_recipe

IMAGENET = 1_281_167
STRIKES_BACK = {  # arXiv:2110.00476, table 2
    "a1": {"epochs": 600, "rate": 5e-3, "decay": 0.01, "smoothing": 0.1, "mixup": 0.2, "magnitude": 7, "drop": 0.05,
           "repeats": 3, "size": 224},
    "a2": {"epochs": 300, "rate": 5e-3, "decay": 0.02, "smoothing": 0.0, "mixup": 0.1, "magnitude": 7, "drop": 0.05,
           "repeats": 3, "size": 224},
    "a3": {"epochs": 100, "rate": 8e-3, "decay": 0.02, "smoothing": 0.0, "mixup": 0.1, "magnitude": 6, "drop": None,
           "repeats": 1, "size": 160},
}


@pytest.mark.parametrize("name", STRIKES_BACK)
def test_resnet_strikes_back(name):
    recipe = load_recipe(f"resnet_strikes_back/{name}")
    plan = plan_of_recipe(recipe, IMAGENET, 1)
    augment, data = recipe.augment, recipe.data
    assert {"epochs": plan.epochs, "rate": plan.rate(5), "decay": recipe.optimizer.weight_decay,
            "smoothing": build_loss(recipe).label_smoothing, "mixup": augment.mixup_alpha,
            "magnitude": augment.rand_augment_magnitude, "drop": recipe.model.options.get("drop_path_rate"),
            "repeats": augment.repeats, "size": data.image_size} == STRIKES_BACK[name]
    assert type(build_optimizer(recipe)) is keras.optimizers.Lamb
    assert (data.test_size, data.crop_pct, augment.cutmix_alpha) == (224, 0.95, 1.0)
    assert abs(plan[0].batch_size / 2048 - 1) < 0.005 and augment.rand_augment_magnitude_std == 0.5


def test_torchvision():
    recipe = load_recipe("torchvision/resnet50_v2")
    plan, augment, data = plan_of_recipe(recipe, IMAGENET, 8), recipe.augment, recipe.data
    assert (plan.epochs, plan[0].batch_size, plan[0].micro_batch, plan.rate(5)) == (600, 1024, 128, 0.5)
    assert (data.image_size, data.test_size, data.short_side) == (176, 224, 232)
    assert (augment.random_erasing, augment.mixup_alpha, augment.cutmix_alpha, augment.repeats) == (0.1, 0.2, 1.0, 4)
    # 2e-5, adjusted to the batch by torchvision's code, is the share of the weights in 32 updates
    assert 1 - recipe.optimizer.ema_decay**32 == pytest.approx(2e-5 * 8 * 128 * 32 / 600, rel=1e-3)


def test_airbench_has_the_rates_and_decays_of_its_code():
    recipe = load_recipe("cifar10/airbench94")
    optimizer, plan = build_optimizer(recipe), plan_of_recipe(recipe, 50_000, 1)
    assert (plan.epochs, plan.updates, plan.rate(0), plan.rate(4)) == (8, 200, pytest.approx(0.24), pytest.approx(0.12))
    assert (optimizer.momentum, optimizer.other_momentum, optimizer.newton_schulz_steps) == (0.6, 0.85, 3)
    for ratio, rate in ((optimizer.vector_ratio, 0.053), (optimizer.matrix_ratio, 0.67)):
        assert 0.24 * ratio / 2000 == pytest.approx(rate)  # of the mean over 2000 images
    assert 0.24 * optimizer.coupled_weight_decay == pytest.approx(2e-6 * 2000)  # of each update


def test_airbench_trains_with_whitened_images(tmp_path):
    recipe = load_recipe("cifar10/airbench94").replace(
        data={"source": "digits", "image_size": 32, "train_images": 400, "workers": 1, "mean": (78.0,) * 3,
              "std": (96.0,) * 3},
        model={"name": "test_airbench"}, schedule={"epochs": 4, "batch_size": 50, "base_batch_size": 50},
        optimizer={"options": {"newton_schulz_steps": 3}}, export={"formats": ()}, train={"deterministic": False})
    prepared = training.prepare(recipe)
    kernel = keras.ops.convert_to_numpy(prepared.network.get_layer("whiten").kernel).copy()
    run = training.train(recipe, tmp_path / "run", verbose=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(run.network.get_layer("whiten").kernel), kernel)
    assert run.history["val_top1"][-1] > 0.3 and np.isfinite(run.history["loss"]).all()
