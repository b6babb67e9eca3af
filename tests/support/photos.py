"""Folders of small images, and a run folder made without training: a network with random weights."""

import csv

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from keras_tricks import training
from keras_tricks.recipe import Augment, Data, Model, Recipe
from keras_tricks.utils.class_names import write_class_names
from keras_tricks.utils.summary import COLUMNS
from keras_tricks.weights import safetensors_io

CLASSES = ("cat", "dog", "ship")


def photos(root, names=CLASSES, count=12, first=0):
    """`root/<name>/<number>.png`: digit 0 for the first name, 1 for the second, and so on. Returns `root`."""
    raw = load_digits()
    for digit, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in np.flatnonzero(raw.target == digit)[first : first + count]:
            image = (raw.images[i] * (255 / 16)).round().astype("uint8")
            Image.fromarray(image).convert("RGB").save(root / name / f"{i}.png")
    return root


def recipe(data_dir=None, **changes):
    found = Recipe(
        name="photos", data=Data(source="image_folder", data_dir=data_dir and str(data_dir), image_size=8,
                                 eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3, workers=1),
        augment=Augment(crop="none", flip=False), model=Model(name="test_resnet", options={"stem": "cifar"}),
        schedule={"batch_size": 16, "epochs": 1}, train={"deterministic": False}, export={"formats": ()})
    return found.replace(**changes)


def made_run(folder, own_recipe, classes=CLASSES, **metadata):
    """Writes a run folder with `best.safetensors` after epoch 1. Returns (folder, its network)."""
    keras.utils.set_random_seed(5)
    network = training.build_network(own_recipe, len(classes))
    for variable in network.variables:
        if variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(np.random.normal(size=variable.shape, scale=0.3))
    (folder / "checkpoints").mkdir(parents=True)
    weights = {f"model/{name}": variable for name, variable in safetensors_io.weights_of(network).items()}
    metadata = {"format": 1, "epoch": 1, "images": 0, "best": "0.5", "weights": "raw", **metadata}
    safetensors_io.save(folder / "checkpoints" / "best.safetensors", weights, metadata)
    (folder / "recipe.json").write_text(own_recipe.to_json())
    write_class_names(folder, classes)
    with open(folder / "summary.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(dict.fromkeys(COLUMNS, 1) | {"top1": 50, "ema_top1": ""})
    return folder, network


def answers(network, paths):
    """Which class the network answers for each image, by hand."""
    pixels = np.stack([np.asarray(Image.open(path), "float32") for path in paths])
    return np.argmax(keras.ops.convert_to_numpy(network((pixels - 78) / 96, training=False)), axis=-1)
