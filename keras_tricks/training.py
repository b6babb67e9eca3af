"""A recipe, trained: data -> augment -> model -> loss -> optimizer -> schedule -> train -> export.

`train` reads top to bottom in that order. `prepare` does everything before the first step, which is also what a dry
run and `plan` need.
"""

import dataclasses
import functools
import json
import logging
import pathlib
import sys
import tempfile

import keras

from keras_tricks import callbacks, losses, models, optimizers, schedules, surgery
from keras_tricks.recipe import Recipe
from keras_tricks.run.environment import environment
from keras_tricks.run.failures import translate_data_errors, translate_errors
from keras_tricks.run.lock import locked
from keras_tricks.run.log import log_bad_images, log_file, log_result
from keras_tricks.run.resolve import create_run_folder, resolve_run
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")

FEW_IMAGES = 16  # fewer images per replica make poor batch statistics


@dataclasses.dataclass
class Run:
    """A finished run.

    Attributes:
        history: dict, Keras' `History.history`.
        model: `keras.Model`, pixels 0-255 in, probabilities out.
        folder: `pathlib.Path` of the run; `None` after a dry run.
        network: `keras.Model` as trained: normalized images in, logits out.
    """

    history: dict
    model: keras.Model
    folder: pathlib.Path | None
    network: keras.Model


@dataclasses.dataclass
class Prepared:
    """Everything a first step needs."""

    recipe: Recipe
    source: object
    network: keras.Model
    trainer: keras.Model  # the model that is fitted: the network, or a distiller around it
    strategy: object
    plan: schedules.BatchSizePlan  # batch size, learning rate and steps of every epoch
    service: object = None  # the data service that makes the training batches, if there is one


def train(recipe: Recipe | str | None = None, output: str | pathlib.Path | None = None,
          resume: bool | str | pathlib.Path = False, dry_run: bool = False, verbose: int | None = None,
          changes: str | None = None) -> Run:
    """Trains a recipe.

    Args:
        recipe: name, path or `Recipe`. May be left out when a run is resumed by its path.
        output: run folder. Defaults to `runs/<recipe name>`, numbered when that exists.
        resume: `False`; `True` or `"auto"`, continue the run in `output` if there is one; or the folder of a run. It
            continues from its newest checkpoint, in the middle of an epoch, with the weights of an uninterrupted run.
        dry_run: bool, build everything, do one training and one evaluation step, write nothing.
        verbose: 0, 1 (bar) or 2 (a line per epoch). Defaults to a bar on a terminal and lines elsewhere.
        changes: which recipe wins when a run is resumed with another one: `"run"`, `"new"`, or `None`, an error.

    Returns:
        A `Run`; after a dry run its `folder` is `None`.

    Raises:
        UserError: a mistake in the recipe, the data or the output folder, before anything is written. During the run: a
            full disk, a loss that is not finite, too little memory.
        Interrupted: a `UserError`, after SIGTERM, SIGINT or SIGUSR1: a checkpoint was written.
    """
    run = resolve_run(recipe, output, resume, changes)
    ready = prepare(run.recipe)
    if run.recipe.data.service is not None:
        from keras_tricks.data import service

        ready.service = service.connect(run.recipe.data, ready.source)
    verbose = (1 if sys.stdout.isatty() else 2) if verbose is None else verbose
    if dry_run:
        return _dry_run(ready, verbose)
    from keras_tricks.distribution import is_chief

    if is_chief(ready.strategy):
        folder = create_run_folder(run)
        with locked(folder), log_file(folder):
            return _train(ready, run, folder, folder, verbose)
    # The other workers take part in every step and leave nothing behind.
    with tempfile.TemporaryDirectory() as scratch:
        return _train(ready, run, pathlib.Path(scratch), run.folder, verbose=0)


def prepare(recipe: Recipe) -> Prepared:
    """Opens the data, builds and compiles the model. Reads and writes no file of a run.

    Raises:
        UserError: anything in the recipe that contradicts the data or the model.
    """
    from keras_tricks.distribution import strategy as make_strategy

    strategy = make_strategy(recipe.train.strategy, recipe.train.logical_devices)
    _set_up_process(recipe)

    # --- data ---------------------------------------------------------------------------------------------------------
    source = open_data(recipe.data)
    _check_against_data(recipe, source)
    plan = plan_of_recipe(recipe, source.train.num_examples, strategy.num_replicas_in_sync)

    with strategy.scope():
        network, trainer = _compiled(recipe, source.num_classes, plan)
    return Prepared(recipe, source, network, trainer, strategy, plan)


def open_data(data):
    """The `Source` of a recipe's `data` section, with the training images it asks for."""
    from keras_tricks.data import open_source

    source = open_source(data.source, data.data_dir, data.max_bad_images, data.train_split, data.validation_split,
                         data.minival)
    if data.train_images is None:
        return source
    return dataclasses.replace(source, train=source.train.take(data.train_images))


def _compiled(recipe, classes, plan):
    """(network, trainer) of a recipe: the trainer is compiled, and is the network unless there is a teacher."""
    # --- model --------------------------------------------------------------------------------------------------------
    network = build_network(recipe, classes)
    surgery.freeze(network, recipe.model.freeze, recipe.model.freeze_norms)
    if recipe.model.options.get("bn_momentum") == 0 and not recipe.optimizer.ema_decay:
        log.warning("bn_momentum is 0 and there is no weight average: evaluation would use the statistics of the last "
                    "batch alone. Set optimizer.ema_decay=0.9999, as the paper does, or model.options.bn_momentum=0.9.")

    # --- loss ---------------------------------------------------------------------------------------------------------
    loss = losses.LabelSmoothingCrossentropy(recipe.loss.label_smoothing, recipe.loss.smoothing, from_logits=True)
    trainer = network
    if recipe.loss.teacher is not None:
        trainer = losses.Distiller(network, build_teacher(recipe, classes), recipe.loss.temperature)

    # --- optimizer ----------------------------------------------------------------------------------------------------
    optimizer = build_optimizer(recipe, accumulates=any(p.accumulation_steps > 1 for p in plan))

    # --- schedule -----------------------------------------------------------------------------------------------------
    # `BatchSizeScheduler` sets the learning rate before every batch, see `_callbacks`.
    trainer.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=[
            keras.metrics.CategoricalAccuracy(name="top1"),
            keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        ],
        steps_per_execution=recipe.train.steps_per_execution,
        jit_compile=recipe.train.jit_compile,
    )
    optimizer.build(network.trainable_variables)
    return network, trainer


def plan_of_recipe(recipe, dataset_size, replicas):
    """The recipe's schedule as a `BatchSizePlan`: batch size, learning rate and steps of every epoch."""
    schedule = recipe.schedule
    peak = schedules.linear_scaling(schedule.batch_size, schedule.base_learning_rate, schedule.base_batch_size)
    factor = schedule.growth_factor or (1.0 / schedule.factor if schedule.decay == "step" else 2)
    plan = schedules.batch_size_plan(
        peak, schedule.batch_size, schedule.epochs, dataset_size, decay_of(schedule), schedule.mode, factor,
        max_batch_size=schedule.max_batch_size, momentum=recipe.optimizer.momentum,
        warmup_epochs=schedule.warmup_epochs, replicas=replicas,
        max_batch_per_replica=recipe.train.max_batch_per_replica,
        accumulation_steps=recipe.optimizer.accumulation_steps,
    )
    per_call, lengths = recipe.train.steps_per_execution, {p.steps_per_epoch for p in plan}
    if per_call > 1 and (len(lengths) > 1 or plan[0].steps_per_epoch % per_call):
        steps = ", ".join(map(str, sorted(lengths)))
        raise UserError(f"`train.steps_per_execution` must divide the steps of an epoch ({steps}), and be 1 where the "
                        f"batch grows. Received: {per_call}")
    if replicas > 1 and plan[0].micro_batch < FEW_IMAGES and not recipe.model.options.get("sync_bn"):
        log.warning("%d images per replica are few for batch statistics of one replica: consider "
                    "--set model.options.sync_bn=true", plan[0].micro_batch)
    return plan


def _train(ready, run, folder, resume_from, verbose):
    """Trains what is ready.

    Args:
        run: `ResolvedRun`.
        folder: where this process writes.
        resume_from: the run folder, which is another one for all workers but the first.
    """
    from keras_tricks.data import WaitClock

    clock, validation = WaitClock(), validation_batches(ready)

    # --- schedule, and what watches the run ---------------------------------------------------------------------------
    watchers = _watchers(ready, folder, validation, clock)
    start = callbacks.Position()
    if run.resume:
        start = watchers.checkpoint.restore(ready.trainer, resume_from, same_data=run.changes != "new")
    first_step = _first_step(ready.plan, start, ready.recipe.train.steps_per_execution)
    scheduler = callbacks.BatchSizeScheduler(ready.plan, (start.epoch, first_step))

    # --- train --------------------------------------------------------------------------------------------------------
    with watchers.interruption, translate_errors(ready, resume_from, watchers.checkpoint, training_batches), \
            watchers.watchdog, watchers.run_log:
        write_text(folder / "recipe.json", ready.recipe.to_json())
        write_text(folder / "env.json", json.dumps(environment(), indent=2) + "\n")
        _log_start(ready, start, run, resume_from)
        history = _fit(ready, start, first_step, [*watchers.callbacks, scheduler], clock, validation, verbose)
    log_bad_images(ready.source)

    # --- export -------------------------------------------------------------------------------------------------------
    model = _export(ready, folder)
    log_result(folder)
    return Run(history, model, folder, ready.network)


@dataclasses.dataclass(frozen=True)
class _Watchers:
    """The callbacks that watch a run. `callbacks` are all of them, in the order `fit` calls them."""

    run_log: callbacks.RunLog
    watchdog: callbacks.Watchdog
    checkpoint: callbacks.Checkpoint
    interruption: callbacks.Interruption
    callbacks: tuple


def _watchers(ready, folder, validation, clock):
    from keras_tricks.distribution import several_workers

    recipe, section = ready.recipe, ready.recipe.train
    several = several_workers(ready.strategy)  # processes whose clocks differ
    run_log, overflows = callbacks.RunLog(folder, ready.plan, clock), callbacks.OverflowLog()
    ema = callbacks.WeightEMA(recipe.optimizer.ema_decay, validation) if recipe.optimizer.ema_decay else None
    checkpoint = callbacks.Checkpoint(
        folder, ema=ema, plan=ready.plan, every_steps=section.checkpoint_steps,
        every_minutes=None if several else section.checkpoint_minutes,
        keep=section.keep_checkpoints, fingerprint=_fingerprint(ready.source), callbacks=[run_log, overflows])
    interruption = callbacks.Interruption(checkpoint, save=not several)
    watchdog = callbacks.Watchdog(checkpoint, section.stall_minutes)
    order = (*([ema] if ema else []), overflows, run_log, watchdog, checkpoint, interruption)
    return _Watchers(run_log, watchdog, checkpoint, interruption, order)


def _log_start(ready, start, run, resume_from):
    source, plan = ready.source, ready.plan
    log.info("%s: %d training and %d validation images of %d classes, %d epochs", ready.recipe.name,
             source.train.num_examples, source.validation.num_examples, source.num_classes, plan.epochs)
    log.info("%s", plan)
    if start != callbacks.Position():
        log.info("resuming %s of %d", start, plan.epochs)
    elif run.resume:
        log.info("no checkpoint in %s: starting from the beginning", resume_from)


def _fit(ready, start, first_step, callback_list, clock, validation, verbose):
    """Fits from `start` to the end. Returns the history."""
    history = {}
    for epochs in _epochs_of_fits(ready, start.epoch):
        # --- data, augment --------------------------------------------------------------------------------------------
        batches = training_batches(ready, epochs, first_step if epochs.start == start.epoch else 0)
        fitted = ready.trainer.fit(
            clock.watch(batches),
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            steps_per_epoch=max(ready.plan.phase(e).steps_per_epoch for e in epochs),
            validation_data=validation,
            validation_freq=ready.recipe.train.evaluate_every,
            callbacks=callback_list,
            shuffle=False,
            verbose=verbose,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return history


def _export(ready, folder):
    """Writes the forms the recipe asks for. Returns the model that takes pixels."""
    from keras_tricks import export
    from keras_tricks.data import evaluation_image

    recipe, source = ready.recipe, ready.source
    build = functools.partial(build_network, recipe, source.num_classes)
    model = export.deployable(build, ready.network, recipe.data)
    pixels_of = functools.partial(evaluation_image, data=recipe.data)
    written = export.export(model, folder / "export", recipe.export.formats, source.class_names, pixels_of)
    for form, path in written.items():
        log.info("exported %s to %s", form, path)
    write_text(folder / "export" / "classes.json", json.dumps(source.class_names) + "\n")
    return model


def _fingerprint(source):
    """What must be the same data when a run resumes, {str: str}."""
    count = str(source.train.num_examples)
    return {"number of training images": count, "set of classes": ", ".join(source.class_names)}


def _first_step(plan, start, steps_per_execution):
    """Batches of the first epoch that are already done."""
    phase = plan.phase(start.epoch)
    step, rest = divmod(start.images, phase.step_size)
    if rest or step % steps_per_execution or (start.images and step >= phase.steps_per_epoch):
        raise UserError(f"The run stopped {start}. An epoch now has {phase.steps_per_epoch} batches of "
                        f"{phase.step_size}, with {steps_per_execution} steps per execution, which does not fit: "
                        "resume with the batch size and the train.steps_per_execution it had.")
    return step


def _epochs_of_fits(ready, start_epoch):
    """The epochs of each call of `fit`: one for the whole run, or one for each phase where shapes must be static."""
    import tensorflow as tf

    plan = ready.plan
    static = ready.recipe.train.static_shapes or isinstance(ready.strategy, tf.distribute.TPUStrategy)
    parts = [phase.epochs for phase in plan] if static else [range(plan.epochs)]
    return [range(max(p.start, start_epoch), p.stop) for p in parts if p.stop > start_epoch]


def _dry_run(ready, verbose):
    training, validation = training_batches(ready, range(1)).take(1), validation_batches(ready)
    with translate_data_errors(ready.source, ready.service):
        history = ready.trainer.fit(training, validation_data=validation.take(1), shuffle=False, verbose=verbose)
    print("Dry run: one training step and one evaluation step done; nothing was written.")
    return Run(history.history, ready.network, None, ready.network)


def training_batches(ready, epochs, first_step=0):
    """Batches of some consecutive epochs, a `range`, without the first ones of the first epoch."""
    from keras_tricks import data

    recipe, source = ready.recipe, ready.source
    return data.training_batches(source.train, recipe.data, recipe.augment, source.num_classes, ready.plan, recipe.seed,
                                 epochs, ready.service, first_step)


def validation_batches(ready):
    """The validation split once, in order."""
    from keras_tricks import data

    recipe, source = ready.recipe, ready.source
    batch_size = recipe.train.eval_batch_size or ready.plan[0].step_size
    return data.evaluation_batches(source.validation, recipe.data, source.num_classes, batch_size)


def build_network(recipe, classes):
    """The recipe's network, logits out, in the current precision policy."""
    model = recipe.model
    options = dict(model.options)
    if model.zero_gamma:
        options["zero_gamma"] = True
    size = recipe.data.image_size
    if recipe.data.test_size != size and "input_shape" not in options:
        size = None  # trained and evaluated at different sizes
    options.setdefault("input_shape", (size, size, 3))
    return models.create_model(model.name, classes=classes, classifier_activation=None, weights=model.weights,
                               **options)


def build_teacher(recipe, classes):
    loss = recipe.loss
    if loss.teacher_weights is None:
        raise UserError(f"The teacher {loss.teacher} needs trained weights: --set loss.teacher_weights=FILE. Train it "
                        "first; its run leaves checkpoints/best.safetensors.")
    size = recipe.data.image_size
    return models.create_model(loss.teacher, classes=classes, classifier_activation=None, input_shape=(size, size, 3),
                               weights=loss.teacher_weights, **loss.teacher_options)


def build_optimizer(recipe, accumulates=False):
    section = recipe.optimizer
    if section.name == "adam":
        optimizer = keras.optimizers.Adam(0.0, section.momentum, weight_decay=section.weight_decay or None)
    else:
        optimizer = optimizers.SGD(0.0, section.momentum, section.nesterov, section.weight_decay,
                                   section.no_bias_decay)
    if section.agc_clip_factor:
        optimizer = optimizers.AGC(optimizer, section.agc_clip_factor, exclude=section.agc_exclude)
    if accumulates:
        optimizer = optimizers.GradientAccumulation(optimizer, section.accumulation_steps)
    if recipe.train.precision == "mixed_float16":
        optimizer = optimizers.LossScale(optimizer)
    elif recipe.train.skip_non_finite:
        optimizer = optimizers.LossScale(optimizer, 1.0, 2**31 - 1)
    return optimizer


def decay_of(schedule):
    """The decay of a recipe's schedule, as `kt.schedules` objects."""
    if schedule.decay == "cosine":
        return schedules.Cosine(schedule.epochs)
    return schedules.Step(schedule.milestones, schedule.factor) if schedule.decay == "step" else None


def _set_up_process(recipe):
    """Precision, seeds and determinism; before any variable is made."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy(recipe.train.precision)  # after `clear_session`, which forgets it
    keras.utils.set_random_seed(recipe.seed)
    if recipe.train.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _check_against_data(recipe, source):
    if recipe.model.classes not in (None, source.num_classes):
        raise UserError(f"`model.classes` is {recipe.model.classes} but {source.name} has {source.num_classes} classes "
                        f"({', '.join(source.class_names[:5])}, ...). Leave model.classes out or correct it.")
    if recipe.schedule.batch_size > source.train.num_examples:
        raise UserError(f"`schedule.batch_size` is {recipe.schedule.batch_size}, more than the "
                        f"{source.train.num_examples} training images of {source.name}.")
