"""The answers of a run's network to every validation image, and what is computed from them."""

import dataclasses
import functools

import numpy as np

from keras_tricks import analysis, evaluation, training
from keras_tricks.analysis import ClassCounts, LabelCounts
from keras_tricks.run.failures import translate_data_errors
from keras_tricks.run.process import own_process
from keras_tricks.utils import class_names
from keras_tricks.weights import find, load

BINS = 15


@dataclasses.dataclass(frozen=True)
class _Answers:
    class_names: tuple
    logits: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    split: object

    def path(self, position):
        """The file of an answer, or `""` if examples are not files."""
        paths = self.split.paths
        return str(paths[self.numbers[position]]) if len(paths) else ""


class LabelSetAnswers(_Answers):
    """Logits beside several labels an image.

    Attributes as those of `Answers`, but `labels` is uint8 `(n, classes)`.
    """

    @functools.cached_property
    def probabilities(self):
        """Float32 `(n, classes)`, of each class alone."""
        return (1.0 / (1.0 + np.exp(-self.logits.astype("float64")))).astype("float32")

    @functools.cached_property
    def issues(self):
        """(positions, classes) of the labels that the network contradicts with confidence."""
        return analysis.label_set_issues(self.probabilities, self.labels)


class Answers(_Answers):
    """Logits beside labels.

    Attributes:
        class_names: names of the classes, a tuple.
        logits: float32 array `(n, classes)`.
        labels: int64 array `(n,)`.
        numbers: int64 array `(n,)`, indices in the split: without the images that cannot be read.
        split: the `Split` that was evaluated.
    """

    @functools.cached_property
    def probabilities(self):
        """Float32 `(n, classes)`."""
        return analysis.softmax(self.logits).astype("float32")

    @functools.cached_property
    def predicted(self):
        """Int64 `(n,)`, the class with the largest logit."""
        return np.argmax(self.logits, axis=1)

    @functools.cached_property
    def correct(self):
        """Bool `(n,)`."""
        return self.predicted == self.labels

    @functools.cached_property
    def confidences(self):
        """Float32 `(n,)`, the probability of the predicted class."""
        return self.probabilities.max(axis=1)

    @functools.cached_property
    def top5(self):
        """The share of images whose label is among the five largest logits."""
        own = self.logits[np.arange(len(self.labels)), self.labels]
        return float(np.mean((self.logits > own[:, None]).sum(axis=1) < 5))

    @functools.cached_property
    def temperature(self):
        """The temperature fitted to these answers."""
        return analysis.fit_temperature(self.logits, self.labels)

    def reliability(self, temperature=1.0):
        """The `Reliability` of the answers at a temperature."""
        confidences = analysis.softmax(self.logits, temperature).max(axis=1)
        return analysis.reliability(confidences, self.correct, BINS)

    @functools.cached_property
    def confusion(self):
        """The `Confusion` of the answers."""
        return analysis.confusion(self.labels, self.predicted, len(self.class_names))

    def by_class(self):
        """(images, correct), integer arrays `(classes,)`."""
        classes = len(self.class_names)
        return (np.bincount(self.labels, minlength=classes),
                np.bincount(self.labels[self.correct], minlength=classes))

    def mistakes(self, count):
        """Positions of the wrong answers with the highest confidence."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidences[wrong], kind="stable")][:count]

    def uncertain(self, count):
        """Positions of the answers with the lowest confidence."""
        return np.argsort(self.confidences, kind="stable")[:count]

    @functools.cached_property
    def issues(self):
        """(positions, probable classes) of the labels that the network contradicts with confidence."""
        return analysis.label_issues(self.probabilities, self.labels)


def on_one_device(recipe):
    """The recipe for work in this process alone, on one device."""
    return recipe.replace(train={"strategy": "one", "logical_devices": None}, data={"service": None})


def answer(recipe, weights, trained_on, mapping=None, split="validation"):
    """Evaluates weights image by image. Arguments and errors are those of `evaluation.measure`.

    Args:
        split: `"validation"`, or `"training"` to evaluate the training images without augmentation.

    Returns:
        `Answers` or, with several labels an image, `LabelSetAnswers`.
    """
    recipe, found, several = on_one_device(recipe), find(weights), recipe.data.multi_label

    def open_split():
        if split == "validation":
            return evaluation.open_labelled(recipe.data, found, trained_on, mapping)
        source = training.open_data(recipe.data)
        names = tuple(found.class_names or source.class_names)
        table = class_names.places(source.class_names, names, mapping)
        images = source.train.relabel(list(table), len(names))
        return dataclasses.replace(source, class_names=names, train=images, validation=images)

    with own_process("keras-tricks report"):
        ready, _ = training.prepare_evaluation(recipe, open_split, LabelCounts if several else ClassCounts)
        load(ready.network, weights)
        rows = []
        with ready.devices.fit_scope(), translate_data_errors(ready.source):
            for images, labels, intact in training.validation_batches(ready):
                labels = np.asarray(labels).astype("uint8") if several else np.argmax(np.asarray(labels), axis=1)
                rows.append((np.asarray(ready.network.predict_on_batch(images), "float32"), labels,
                             np.asarray(intact) > 0))
    examples = ready.source.validation
    logits, labels, intact = (np.concatenate(parts)[: examples.num_examples] for parts in zip(*rows, strict=True))
    kind = LabelSetAnswers if several else Answers
    return kind(tuple(ready.source.class_names), logits[intact], labels[intact], np.flatnonzero(intact), examples)
