"""Trains on batches made by other processes: a dispatcher and two workers. The bits are the same. About 40 seconds.

    python examples/data_service.py

This example runs on one machine. With several, start `keras-tricks data serve` on the first, the same command with
`--dispatcher grpc://FIRST:5050` on the others, and train with `--data-service grpc://FIRST:5050`. Put the data at the
same path on all machines, and use a private network.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageDraw

import keras_tricks as kt
from keras_tricks.data import open_source, service, training_batches
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Augment, Data, Model, Recipe, Schedule
from keras_tricks.schedules import batch_size_plan

SHAPES = ("ellipse", "line", "rectangle")


def draw(folder, count, seed):
    """`folder/<shape>/<number>.jpg`: one white shape at a random place on a dark background."""
    rng = np.random.default_rng(seed)
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (40, 40), tuple(map(int, rng.integers(0, 100, 3))))
            corner, size = rng.integers(2, 12, 2), rng.integers(14, 26)
            getattr(ImageDraw.Draw(image), shape)([*map(int, corner), *map(int, corner + size)], "white")
            image.save(folder / shape / f"{number}.jpg", quality=95)


def serve(*arguments):
    """Starts `keras-tricks data serve` in a new process. Returns the process and the address that it prints."""
    command = [sys.executable, "-m", "keras_tricks", "data", "serve", "--host", "localhost", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()  # "a dispatcher and a worker at grpc://localhost:41234, until Ctrl-C"
    return process, line.rpartition(",")[0].split()[-1]


with tempfile.TemporaryDirectory() as temporary:
    root, processes = pathlib.Path(temporary), []
    draw(root / "images" / "train", 60, seed=0)
    draw(root / "images" / "val", 20, seed=1)
    pack(open_source("image_folder", root / "images"), root / "packed")
    try:
        first, address = serve("--port", "0")
        processes.append(first)
        processes.append(serve("--dispatcher", address)[0])

        recipe = Recipe(
            name="shapes",
            data=Data(source="tfrecord", data_dir=str(root / "packed"), image_size=32, eval_crop="center", crop_pct=0.9,
                      service=address),
            augment=Augment(crop_area=(0.6, 1.0), mixup_alpha=0.2),
            model=Model(name="test_resnet", options={"stem": "cifar"}),
            schedule=Schedule(epochs=6, batch_size=20, base_learning_rate=0.4, warmup_epochs=1, decay="cosine"),
            export={"formats": ()},
        )
        source = open_source("tfrecord", root / "packed")
        plan = batch_size_plan(0.1, 20, 2, source.train.num_examples, mode="decay")
        arguments = source.train, recipe.data, recipe.augment, len(SHAPES), plan, recipe.seed
        local = list(training_batches(*arguments).as_numpy_iterator())
        remote = list(training_batches(*arguments, service=service.connect(recipe.data, source)).as_numpy_iterator())
        same = all((x == y).all() for a, b in zip(local, remote, strict=True) for x, y in zip(a, b, strict=True))
        print(f"{len(remote)} batches of the service equal the local ones, bit by bit: {same}")

        run = kt.train(recipe, output=root / "run")
        print(f"trained through {address}: top-1 {100 * run.history['val_top1'][-1]:.1f} %")
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    if not same or run.history["val_top1"][-1] < 0.5:
        raise SystemExit("the service must give the same batches, and the model must learn from them")
