"""Trains a recipe: data -> augment -> model -> loss -> optimizer -> schedule -> train -> export.

The functions of `train` follow this order. `prepare` does everything before the first step; a dry run and `plan` use
it as well.
"""

import dataclasses
import functools
import json
import logging
import pathlib
import sys
import tempfile
import typing
from collections.abc import Callable, Sequence

import keras

from keras_tricks import callbacks, losses, optimizers, schedules, surgery
from keras_tricks.export import check_packages
from keras_tricks.recipe import Recipe
from keras_tricks.run.build import (
    build_loss,
    build_metrics,
    build_network,
    build_optimizer,
    build_teacher,
    class_weights,
    plan_of_recipe,
    sharpness_aware,
)
from keras_tricks.run.environment import check_limits, environment
from keras_tricks.run.exports import export_result
from keras_tricks.run.failures import translate_data_errors, translate_errors
from keras_tricks.run.given_data import given_data
from keras_tricks.run.lock import locked
from keras_tricks.run.log import log_bad_images, log_file, log_result
from keras_tricks.run.loggers import check_loggers
from keras_tricks.run.notebook import in_notebook, run_as_html
from keras_tricks.run.own import Handed, follows_plateau, make_callbacks
from keras_tricks.run.peers import experiment, report_failures
from keras_tricks.run.process import own_process
from keras_tricks.run.resolve import create_run_folder, resolve_run
from keras_tricks.run.start import (
    epochs_of_fits,
    fingerprint,
    first_step_of,
    log_start,
    may_differ,
    warn_of_other_backend,
)
from keras_tricks.run.watchers import make_loggers, make_watchers
from keras_tricks.run.weights import keeps_last_statistics, load_result
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.class_names import write_class_names
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


@dataclasses.dataclass
class Run:
    """A finished run.

    `model` and `network` have the weights that are exported: those of the epoch with the best validation accuracy,
    averaged if the recipe keeps an average (`optimizer.ema_decay` or `swa_epochs`).

    Attributes:
        history: dict, Keras' `History.history`.
        model: `keras.Model`, pixels 0-255 in, probabilities out.
        folder: `pathlib.Path` of the run; `None` after a dry run.
        network: `keras.Model`: normalized images in, logits out.
    """

    history: dict
    model: keras.Model
    folder: pathlib.Path | None
    network: keras.Model

    def _repr_html_(self):
        return run_as_html(self.folder, self.history)


@dataclasses.dataclass
class Prepared:
    """Everything that the first training step needs."""

    recipe: Recipe
    source: object
    network: keras.Model
    trainer: keras.Model  # the model to fit: the network, or one that contains it
    devices: object  # see `distribution/devices.py`
    plan: schedules.BatchSizePlan | None  # batch size, learning rate and steps of every epoch
    service: object = None  # the data service that makes the training batches, if there is one
    build: Callable[..., keras.Model] | None = None  # the user's function that builds the network, if handed over
    own_callbacks: Sequence[keras.callbacks.Callback] = ()  # of the user
    live: bool = False  # whether a notebook shows the run


def train(recipe: Recipe | str | None = None, output: str | pathlib.Path | None = None,
          resume: bool | str | pathlib.Path = False, dry_run: bool = False, verbose: int | None = None,
          changes: str | None = None, data: typing.Any = None, model: Callable[..., keras.Model] | None = None,
          callbacks: Sequence[keras.callbacks.Callback] = ()) -> Run:
    """Trains a recipe.

    Args:
        recipe: name, path or `Recipe`. Optional if `resume` is a run folder.
        output: run folder. Defaults to `runs/<recipe name>`, with a number if that exists.
        resume: `False`; `True` or `"auto"` to continue the run in `output`, if there is one; or a run folder. The run
            continues from its newest checkpoint, also within an epoch, and gets the weights of an uninterrupted run.
        dry_run: bool, build everything, do one training and one evaluation step, write nothing.
        verbose: 0, 1 (bar) or 2 (one line per epoch). Defaults to 1 on a terminal, to one bar with live curves in a
            notebook, and to 2 otherwise.
        changes: which recipe to use if a run is resumed with another one: `"run"`, `"new"`, or `None`, an error.
        data: data to use instead of the recipe's source: `((x, y), (x_val, y_val))`, two `tf.data.Dataset`s, two
            `kt.data.DataSource`s or a `kt.data.Source`, see `kt.data.as_source`. `recipe.json` keeps their fingerprint.
            Defaults to `None`: the source of the recipe.
        model: function `(input_shape, classes, **options)` that returns a `keras.Model` with logits. Defaults to
            `None`: the recipe's `model.name`.
        callbacks: `keras.callbacks.Callback` objects, whose state is part of checkpoints. Defaults to `()`: those of
            the recipe's `train.callbacks`.

    Returns:
        A `Run`; after a dry run its `folder` is `None`.

    Precision policy, determinism and the random state of Python and NumPy are afterwards what they were. Not restored:
    names of later layers start again, and the global seeds of Keras and TensorFlow are those of the recipe.

    Raises:
        UserError: an error in the recipe, the data or the output folder, before anything is written; another training
            in this process, or a call inside `strategy.scope()`. During the run: a full disk, a non-finite loss, too
            little memory.
        Interrupted: a `UserError`, after SIGTERM, SIGINT or SIGUSR1. A checkpoint was written.
    """
    from keras_tricks.distribution import worker_names

    run = resolve_run(recipe, output, resume, changes, Handed(model, callbacks, given_data(data)))
    check_packages(run.recipe.export.formats)
    check_loggers(run.recipe.train.loggers)
    check_limits()
    with own_process("kt.train"):
        devices = _make_devices(run.recipe)
        shared = None if dry_run or run.numbered else run.folder  # the others do not know the number
        with report_failures(shared, worker_names(devices.processes), devices.process_index, devices.is_lost_peer,
                             devices.unreachable_workers):
            return _train_on(devices, run, dry_run, verbose)


def _train_on(devices, run, dry_run, verbose):
    """Prepares and trains a `ResolvedRun`."""
    ready = prepare(run.recipe, devices, run.handed)
    if run.recipe.data.service is not None:
        from keras_tricks.data import service

        ready.service = service.connect(run.recipe.data, ready.source)
    ready.live = verbose is None and not dry_run and in_notebook()
    verbose = (0 if ready.live else 1 if sys.stdout.isatty() else 2) if verbose is None else verbose
    if dry_run:
        return _dry_run(ready, verbose)
    if devices.is_chief:
        folder = create_run_folder(run)
        with locked(folder), log_file(folder):
            return _train(ready, run, folder, folder, verbose)
    # The other workers take part in every step and keep no files.
    with tempfile.TemporaryDirectory() as scratch:
        return _train(ready, run, pathlib.Path(scratch), run.folder, verbose=0)


def prepare(recipe: Recipe, devices=None, handed=None) -> Prepared:
    """Opens the data, builds and compiles the model. Reads and writes no file of a run.

    Args:
        recipe: `Recipe`.
        devices: devices of the run. Defaults to `None`, those of the recipe, after all workers have started.
        handed: `Handed`, the data, model and callbacks given to `train`. Defaults to `None`: those of the recipe.

    Raises:
        UserError: the recipe contradicts the data or the model.
    """
    devices = _make_devices(recipe) if devices is None else devices
    _set_up_process(recipe, devices)

    # --- data ---------------------------------------------------------------------------------------------------------
    with devices.comparison() as check_equal:
        source = open_data(recipe.data, handed and handed.source)
        _check_against_data(recipe, source)
        check_equal(fingerprint(source))  # all workers have the same images
    plan = plan_of_recipe(recipe, source.train.num_examples, devices.replicas)

    build = handed and handed.model
    with devices.scope():
        network, trainer = _compiled(recipe, source.class_names, plan, devices, build, class_weights(recipe, source))
        if recipe.model.weights is None:
            surgery.whiten(network, functools.partial(_first_images, recipe.data, source))
    own_callbacks = make_callbacks(recipe, handed)
    return Prepared(recipe, source, network, trainer, devices, plan, build=build, own_callbacks=own_callbacks)


def prepare_evaluation(recipe, open_validation, make_metric, views="one"):
    """The recipe's network with fresh weights, compiled for evaluation only: without teacher and optimizer.

    Args:
        recipe: `Recipe`.
        open_validation: function without arguments that returns a `Source`, of which the validation split is used. It
            is called when the devices are ready.
        make_metric: function of the number of classes that returns a further metric.
        views: views of each image whose outputs are averaged, see `kt.surgery.with_views`. Defaults to `"one"`.

    Returns:
        (`Prepared` without a plan, the metric).
    """
    devices = _make_devices(recipe)
    _set_up_process(recipe, devices)
    source = open_validation()
    with devices.scope():
        network, metric = build_network(recipe, source.num_classes, initial=False), make_metric(source.num_classes)
        loss, trainer = build_loss(recipe), surgery.with_views(network, views)
        labels = source.num_classes if recipe.data.multi_label else None
        trainer.compile(loss=loss, weighted_metrics=[*build_metrics(loss, False, label_classes=labels), metric],
                        **devices.compile_arguments(recipe.train.jit_compile))
    return Prepared(recipe, source, network, trainer, devices, None), metric


def _first_images(data, source):
    from keras_tricks.data import first_images

    return first_images(source.train, data)


def _make_devices(recipe):
    from keras_tricks.distribution import make_devices

    return make_devices(recipe.train.strategy, recipe.train.logical_devices, experiment(recipe))


def open_data(data, given=None):
    """The `Source` of a recipe's `data` section, or the `given` one, limited to `data.train_images`."""
    from keras_tricks.data import open_source
    from keras_tricks.data.sources.as_source import hold_out
    from keras_tricks.data.sources.open_source import check_section

    if given is not None:
        source = hold_out(given, data.minival) if data.minival else given
        for split in (source.train, source.validation):
            if split.bad is not None:
                split.bad.limit = data.max_bad_images
    else:
        source = open_source(data.source, data.data_dir, data.max_bad_images, data.train_split, data.validation_split,
                             data.minival, data.image_column, data.label_column, data)
    check_section(source, data)
    if data.train_images is None:
        return source
    return dataclasses.replace(source, train=source.train.take(data.train_images))


def class_names_of_data(data):
    """The class names of a recipe's `data` section, a tuple; `None` if the data cannot be opened here."""
    try:
        return tuple(open_data(data).class_names)
    except UserError:
        return None


def _compiled(recipe, class_names, plan, devices, build=None, weights=None):
    """(network, trainer) of a recipe: the trainer is compiled, and is the network without teacher and SAM."""
    # --- model --------------------------------------------------------------------------------------------------------
    if keeps_last_statistics(recipe) and not recipe.optimizer.ema_decay:
        raise UserError("bn_momentum is 0 and there is no weight average: evaluation would use only the statistics of "
                        "the last batch. Set optimizer.ema_decay=0.9999, as the paper does, or "
                        "model.options.bn_momentum=0.9.")
    network = build_network(recipe, len(class_names), class_names, build=build)
    surgery.freeze(network, recipe.model.freeze, recipe.model.freeze_norms)

    # --- loss ---------------------------------------------------------------------------------------------------------
    loss, trainer = build_loss(recipe, weights), network
    if recipe.loss.teacher is not None:
        teacher = build_teacher(recipe, len(class_names), class_names)
        trainer = losses.Distiller(network, teacher, recipe.loss.temperature)
    trainer = sharpness_aware(recipe, trainer, plan)

    # --- optimizer ----------------------------------------------------------------------------------------------------
    optimizer = build_optimizer(recipe, accumulates=any(p.accumulation_steps > 1 for p in plan))
    if recipe.optimizer.name in ("adam", "lamb") and recipe.optimizer.no_bias_decay:  # others have it as an argument
        optimizer.exclude_from_weight_decay(optimizers.no_decay(network, verbose=False))

    # --- schedule -----------------------------------------------------------------------------------------------------
    # `BatchSizeScheduler` sets the learning rate before every batch, see `_train`.
    trainer.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=build_metrics(build_loss(recipe), recipe.loss.teacher is not None, weights and len(weights),
                                       len(class_names) if recipe.data.multi_label else None),
        steps_per_execution=recipe.train.steps_per_execution,
        **devices.compile_arguments(recipe.train.jit_compile),
    )
    optimizer.build(network.trainable_variables)
    return network, trainer


def _train(ready, run, folder, resume_from, verbose):
    """Trains a prepared run.

    Args:
        run: `ResolvedRun`.
        folder: folder to which this process writes.
        resume_from: run folder. It differs from `folder` in all workers but the chief.
    """
    from keras_tricks.data import WaitClock

    clock, validation = WaitClock(), validation_batches(ready)

    # --- schedule, and callbacks that monitor the run -----------------------------------------------------------------
    scheduler = callbacks.BatchSizeScheduler(ready.plan, batched=True, follows=follows_plateau(ready.own_callbacks))
    watchers = make_watchers(ready, folder, validation, clock, scheduler, functools.partial(training_batches, ready))
    start = callbacks.Position()
    if run.resume:
        warn_of_other_backend(resume_from)
        start = watchers.checkpoint.restore(ready.trainer, resume_from, may_differ=may_differ(run, resume_from))
        watchers.checkpoint.stopped &= run.changes != "new"
    first_step = first_step_of(ready.plan, start, ready.recipe.train.steps_per_execution)
    scheduler.start = start.epoch, first_step
    further = [*ready.devices.callbacks(ready.recipe.seed, scheduler.start), scheduler]

    # --- train --------------------------------------------------------------------------------------------------------
    with ready.devices.fit_scope(), watchers.interruption, \
            translate_errors(ready, resume_from, watchers.checkpoint, training_batches), \
            watchers.watchdog, watchers.run_log, make_loggers(ready, folder) as loggers:
        write_text(folder / "recipe.json", ready.recipe.to_json())
        write_class_names(folder, ready.source.class_names)
        write_text(folder / "env.json", json.dumps(environment(ready.devices.describe()), indent=2) + "\n")
        log_start(ready, start, run, resume_from)
        history = _fit(ready, start, first_step, [*watchers.ordered(loggers), *further], clock, validation, verbose,
                       watchers.checkpoint)
    log_bad_images(ready.source)

    # --- export -------------------------------------------------------------------------------------------------------
    load_result(ready.network, folder, resume_from)
    model = export_result(ready, folder)
    log_result(folder)
    return Run(history, model, folder, ready.network)


def _fit(ready, start, first_step, callback_list, clock, validation, verbose, checkpoint):
    """Fits from `start` to the last epoch, or to the epoch at which a callback stops it. Returns the history."""
    history = {}
    if checkpoint.stopped and not start.images:
        log.info("a callback had stopped the run %s: nothing is left to train", start)
        return history
    for epochs in epochs_of_fits(ready, start.epoch, first_step):
        skipped = first_step if epochs.start == start.epoch else 0
        if ready.recipe.data.progressive_resizing:
            ready.trainer.train_function = None  # traced again, so that the size of the images stays static
        # --- data, augment --------------------------------------------------------------------------------------------
        batches = training_batches(ready, epochs, skipped, clock)
        steps = max(ready.plan.phase(e).steps_per_epoch for e in epochs) - (skipped if len(epochs) == 1 else 0)
        fitted = ready.trainer.fit(
            batches,
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            steps_per_epoch=steps,
            validation_data=validation,
            validation_freq=ready.recipe.train.evaluate_every,
            callbacks=callbacks.CallbackList(callback_list, ready.trainer, verbose, epochs.stop, steps),
            shuffle=False,
            verbose=verbose,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
        if checkpoint.stopped:
            log.info("a callback stopped the run after epoch %d", checkpoint.position.epoch)
            break
        if ready.own_callbacks:
            checkpoint.keep_states()
    return history


def _dry_run(ready, verbose):
    training, validation = training_batches(ready, range(1)), validation_batches(ready)
    with ready.devices.fit_scope(), translate_data_errors(ready.source, ready.service):
        history = ready.trainer.fit(training, validation_data=validation, steps_per_epoch=1, validation_steps=1,
                                    shuffle=False, verbose=verbose)
    print("Dry run: one training step and one evaluation step done; nothing was written.")
    return Run(history.history, ready.network, None, ready.network)


def training_batches(ready, epochs, first_step=0, clock=None):
    """This process' part of the batches of some epochs, a `range`, without the first ones of the first epoch.

    `clock`: a `WaitClock` that times them, or `None`.
    """
    from keras_tricks import data

    recipe, source = ready.recipe, ready.source

    def make_part(part, parts):
        batches = data.training_batches(source.train, recipe.data, recipe.augment, source.num_classes, ready.plan,
                                        recipe.seed, epochs, ready.service, first_step, part, parts)
        return batches if clock is None else clock.watch(batches)

    return ready.devices.distribute(make_part)


def validation_batches(ready):
    """This process' part of the validation split, once, in order."""
    from keras_tricks import data

    recipe, source = ready.recipe, ready.source
    batch_size = recipe.train.eval_batch_size or (ready.plan[0].step_size if ready.plan else _batch_of_device(ready))
    return ready.devices.distribute(functools.partial(
        data.evaluation_batches, source.validation, recipe.data, source.num_classes, batch_size,
        ready.devices.replicas))


def _batch_of_device(ready):
    """Images of a step, without a plan."""
    schedule, most = ready.recipe.schedule, ready.recipe.train.max_batch_per_replica
    size = max(schedule.batch_size // ready.recipe.optimizer.accumulation_steps, 1)
    return size if most is None else min(size, most * ready.devices.replicas)


def _set_up_process(recipe, devices):
    """Sets precision, seeds and determinism. Must be called before any variable is created."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy(recipe.train.precision)  # after `clear_session`, which resets it
    keras.utils.set_random_seed(recipe.seed)
    if devices.is_deterministic(recipe.train.deterministic):
        devices.set_deterministic()


def _check_against_data(recipe, source):
    if source.num_classes < 2:
        raise UserError(f"{source.name} has one class ({source.class_names[0]}), so there is nothing to classify. "
                        "Expected two classes or more, one sub-folder each in a folder of images.")
    if recipe.model.classes not in (None, source.num_classes):
        raise UserError(f"`model.classes` is {recipe.model.classes} but {source.name} has {source.num_classes} classes "
                        f"({', '.join(source.class_names[:5])}, ...). Leave model.classes out or correct it.")
    if recipe.schedule.batch_size > source.train.num_examples:
        raise UserError(f"`schedule.batch_size` is {recipe.schedule.batch_size}, more than the "
                        f"{source.train.num_examples} training images of {source.name}.")
