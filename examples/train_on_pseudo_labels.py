"""Pseudo-labels: a teacher trained on few labels names the other images; a student trains on both. Half a minute.

    python examples/train_on_pseudo_labels.py

The steps are those of the command line:

    keras-tricks train RECIPE --set data.source=csv --data-dir labelled.csv --output teacher
    keras-tricks predict teacher unlabelled --top 1 --format csv > answers.csv
    keras-tricks train RECIPE --set data.source=csv --data-dir both.csv --output student

The columns of `answers.csv` are path, rank, label and probability; `both.csv` has its rows above a probability, with
the split `train`, beside those of `labelled.csv`.
"""

import csv
import pathlib
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_tricks as kt
from keras_tricks import evaluation

LABELLED, UNLABELLED, HELD_OUT, PROBABILITY = 100, 600, 300, 0.6

raw = load_digits()
images = np.repeat((raw.images * 15).astype("uint8")[..., None], 3, axis=-1)
recipe = kt.load_recipe("quickstart").replace(
    schedule={"batch_size": 20, "base_learning_rate": 0.1, "base_batch_size": 20, "warmup_epochs": 1},
    train={"eval_batch_size": 100}, export={"formats": ()})


def train(folder, name, rows):
    """Trains the recipe on rows of path, label and split. Returns the run."""
    with open(folder / f"{name}.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    epochs = 30 if name == "labelled" else 6
    changed = recipe.replace(data={"source": "csv", "data_dir": str(folder / f"{name}.csv")},
                             schedule={"epochs": epochs}, train={"evaluate_every": epochs})
    return kt.train(changed, folder / f"{name}_run", verbose=0)


with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    for number, image in enumerate(images[:LABELLED + UNLABELLED + HELD_OUT]):
        keras.utils.save_img(folder / f"{number}.png", image, scale=False)
    labelled = [(f"{n}.png", raw.target[n], "train") for n in range(LABELLED)]
    held_out = [(f"{n}.png", raw.target[n], "validation")
                for n in range(LABELLED + UNLABELLED, LABELLED + UNLABELLED + HELD_OUT)]

    teacher = train(folder, "labelled", labelled + held_out)
    unlabelled = [folder / f"{n}.png" for n in range(LABELLED, LABELLED + UNLABELLED)]
    answers = [(path, label) for path, ((label, probability),) in evaluation.predict(teacher.folder, unlabelled, top=1)
               if probability > PROBABILITY]
    right = np.mean([int(label) == raw.target[int(pathlib.Path(path).stem)] for path, label in answers])
    print(f"{len(answers)} of {UNLABELLED} images have a pseudo-label; {100 * right:.1f} % of these are right")

    pseudo = [(pathlib.Path(path).name, label, "train") for path, label in answers]
    student = train(folder, "both", labelled + pseudo + held_out)
    before, after = (100 * max(run.history["val_top1"]) for run in (teacher, student))
    print(f"top-1 of the teacher {before:.1f} %, of the student {after:.1f} %")
