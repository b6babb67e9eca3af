"""Where a run starts: the data that it must have, the step at which it continues, and what it logs first."""

import json
import logging
import pathlib

import keras

from keras_tricks import callbacks
from keras_tricks.analysis import half_precision_biases
from keras_tricks.run.build import sizes_of_run
from keras_tricks.run.combinations import remarks
from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.run.resolve import flatten
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")

IDENTITY = "set of images (names and sizes)"  # in the fingerprint of a run
CHOOSE_IMAGES = ("data.source", "data.train_split", "data.validation_split", "data.minival", "data.train_images",
                 "data.image_column", "data.label_column", "data.fingerprint")


def fingerprint(source):
    """Properties of the data that must not change when a run resumes, {str: str}."""
    found = {"number of training images": str(source.train.num_examples),
             "set of classes": ", ".join(source.class_names)}
    identity = getattr(source, "identity", None)
    return found if identity is None else found | {IDENTITY: str(identity)[:16]}


def may_differ(run, folder):
    """The entries of the data that may differ from the checkpoint: those of other images that a new recipe chooses."""
    if run.changes != "new" or not is_run(folder):
        return ()
    old, new = flatten(recipe_of(folder)), flatten(run.recipe)
    return ("number of training images", IDENTITY) if any(old[key] != new[key] for key in CHOOSE_IMAGES) else ()


def warn_of_other_backend(folder):
    """Logs a warning if a run, whose folder has an `env.json`, was trained on another Keras backend until now."""
    try:
        before = json.loads((pathlib.Path(folder) / "env.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    now = keras.backend.backend()
    if before != now:
        log.warning("the run was trained on %s until now and continues on %s: weights, optimizer, average and position "
                    "carry over; rounding and the random numbers of layers differ, so the result is not that of an "
                    "uninterrupted run to the last bit", before, now)


def warn_of_biases(network):
    """Logs a warning if a network has convolutions whose bias gets a wrong gradient on a CPU under TensorFlow."""
    names = half_precision_biases(network)
    if names:
        log.warning("%d convolutions have a bias in half precision, such as %s: on a CPU TensorFlow also sums its "
                    "gradient in half precision, and most of it is lost if images are large. Use "
                    "train.precision=float32, train.jit_compile=true, or kt.layers.GroupedConv2D, which sums in "
                    "float32", len(names), names[0])


def first_step_of(plan, start, steps_per_execution):
    """Number of batches of the first epoch that are already done."""
    phase = plan.phase(start.epoch)
    step, rest = divmod(start.images, phase.step_size)
    if rest or step % steps_per_execution or (start.images and step >= phase.steps_per_epoch):
        raise UserError(f"The run stopped {start}. An epoch now has {phase.steps_per_epoch} batches of "
                        f"{phase.step_size}, with {steps_per_execution} steps per execution, which does not fit: "
                        "resume with the batch size and the train.steps_per_execution it had.")
    return step


def epochs_of_fits(ready, start_epoch, first_step=0):
    """The epochs of each call of `fit`: one per image size, and one per phase of the plan if shapes must be static.

    In the second case the rest of an epoch, after `first_step`, has its own call: its number of steps differs.
    """
    plan = ready.plan
    static = ready.recipe.train.static_shapes or ready.devices.static_shapes
    phases = [phase.epochs for phase in plan] if static else [range(plan.epochs)]
    sizes = [epochs for epochs, _ in sizes_of_run(ready.recipe.data, plan)]
    parts = [range(max(start_epoch, p.start, s.start), min(p.stop, s.stop)) for p in phases for s in sizes]
    parts = [part for part in parts if part]
    if static and first_step and len(parts[0]) > 1:
        parts[:1] = [parts[0][:1], parts[0][1:]]
    return parts


def log_start(ready, start, run, resume_from):
    source, plan = ready.source, ready.plan
    log.info("%s: %d training and %d validation images of %d classes, %d epochs", ready.recipe.name,
             source.train.num_examples, source.validation.num_examples, source.num_classes, plan.epochs)
    log.info("%s", plan)
    if source.train.fetch is None:
        log.info("%s is read as a stream: its order depends on how it is read, and a resumed epoch reads it from the "
                 "start", source.name)
    for text in remarks(ready.recipe):
        log.warning("%s", text)
    if ready.devices.sums_biases_in_half and not ready.trainer.jit_compile:
        warn_of_biases(ready.network)
    if start != callbacks.Position():
        log.info("resuming %s of %d", start, plan.epochs)
    elif run.resume:
        log.info("no checkpoint in %s: starting from the beginning", resume_from)
