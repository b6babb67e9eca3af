"""Defines a recipe with typed sections, changes it in one line and trains both. About 20 seconds.

    python examples/custom_recipe.py
"""

import pathlib
import tempfile

import keras_tricks as kt
from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

BASE = Recipe(
    name="my_digits",
    about=About(note="digits with a network of 13 thousand parameters"),
    data=Data(source="digits", image_size=16, eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3),
    augment=Augment(crop="pad", pad=1, pad_mode="CONSTANT", flip=False),
    model=Model(name="test_resnet", zero_gamma=True, options={"stem": "cifar"}),
    loss=Loss(label_smoothing=0.1),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=4, batch_size=32, base_learning_rate=0.8, warmup_epochs=1, decay="cosine"),
)
with_mixup = BASE.replace(name="my_digits_mixup", augment={"mixup_alpha": 0.2})  # one line per change

with tempfile.TemporaryDirectory() as folder:
    for recipe in (BASE, with_mixup):
        run = kt.train(recipe, output=pathlib.Path(folder) / recipe.name)
        print(f"{recipe.name}: top-1 {100 * run.history['val_top1'][-1]:.2f} %")
        print("  files:", ", ".join(sorted(p.name for p in run.folder.iterdir())))

    # The recipe.json of a run is a recipe.
    restored = kt.load_recipe(str(run.folder / "recipe.json"))
    print("recipe.json equals the recipe:", restored == with_mixup)
    if restored != with_mixup:
        raise SystemExit("recipe.json must equal the recipe")
