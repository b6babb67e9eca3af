"""The tables of a report as CSV files, in UTF-8 and with a header."""

import csv

from keras_tricks.analysis import wilson_interval
from keras_tricks.utils.atomic_files import atomic_write


def write_tables(folder, answers):
    """Writes `per_class.csv`, `confusion.csv`, `predictions.csv` and `calibration.csv`. Returns their paths.

    Args:
        folder: `pathlib.Path`, an existing folder.
        answers: `Answers`.
    """
    tables = {"per_class.csv": per_class, "confusion.csv": confusion, "predictions.csv": predictions,
              "calibration.csv": calibration}
    for name, rows_of in tables.items():
        with atomic_write(folder / name, "--output") as partial, open(partial, "w", newline="", encoding="utf-8",
                                                                      errors="backslashreplace") as file:
            csv.writer(file, lineterminator="\n").writerows(rows_of(answers))
    return [folder / name for name in tables]


def per_class(answers):
    """Yields class, images, correct, top-1 and its 95 % interval (Wilson) in [0, 1]; empty without images."""
    yield "class", "images", "correct", "top1", "low", "high"
    for name, images, correct in zip(answers.class_names, *answers.by_class(), strict=True):
        low, high = wilson_interval(correct, images)
        known = (f"{correct / images:.8f}", f"{low:.8f}", f"{high:.8f}") if images else ("", "", "")
        yield name, int(images), int(correct), *known


def confusion(answers):
    """Yields label, prediction and images of each cell of the confusion matrix that is not 0."""
    yield "label", "predicted", "images"
    found, names = answers.confusion, answers.class_names
    for label, predicted, images in zip(found.labels, found.predicted, found.images, strict=True):
        yield names[label], names[predicted], int(images)


def predictions(answers):
    """Yields a row for each image that could be read: its index in the split, its file, label and prediction."""
    yield "index", "path", "label", "predicted", "confidence", "label_probability"
    names = answers.class_names
    for i, (number, label, predicted) in enumerate(zip(answers.numbers, answers.labels, answers.predicted,
                                                       strict=True)):
        yield (int(number), answers.path(i), names[label], names[predicted], f"{answers.confidences[i]:.8g}",
               f"{answers.probabilities[i, label]:.8g}")


def calibration(answers):
    """Yields the bins of the reliability diagram, before and after the temperature; means are empty without images."""
    yield "temperature", "low", "high", "images", "confidence", "accuracy"
    for temperature in (1.0, answers.temperature):
        found = answers.reliability(temperature)
        for low, high, images, *means in zip(found.edges, found.edges[1:], found.images, found.confidence,
                                             found.accuracy, strict=False):
            yield (f"{temperature:.8g}", f"{low:.8g}", f"{high:.8g}", int(images),
                   *(f"{mean:.8g}" if images else "" for mean in means))
