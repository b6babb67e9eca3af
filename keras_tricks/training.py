"""A recipe, trained: data -> augment -> model -> loss -> optimizer -> schedule -> train -> export.

`train` reads top to bottom in that order; `prepare` does everything before the first step, which is also what a dry
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
from keras_tricks.errors import UserError
from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.run_folder import claim_folder, environment, log_file, report_bad_images, report_result

log = logging.getLogger("absl")


class WorkerLost(UserError):
    """A run over several workers cannot go on without one of them."""


@dataclasses.dataclass
class Run:
    """A finished run: `history` (Keras' `History.history`), `model` (pixels 0-255 in, probabilities out), `folder`."""

    history: dict
    model: keras.Model
    folder: pathlib.Path
    network: keras.Model  # as trained: normalized images in, logits out


@dataclasses.dataclass
class Prepared:
    """Everything a first step needs."""

    recipe: Recipe
    source: object
    network: keras.Model
    trainer: keras.Model  # what is fitted: the network, or a distiller around it
    strategy: object
    plan: schedules.BatchSizePlan  # batch size, learning rate and steps of every epoch
    service: object = None  # the data service that makes the training batches, if there is one


def prepare(recipe):
    """Opens the data, builds and compiles the model. Reads and writes no file of a run.

    Raises:
        UserError: anything in the recipe that contradicts the data or the model.
    """
    from keras_tricks.distribution import strategy as make_strategy

    strategy = make_strategy(recipe.train.strategy, recipe.train.logical_devices)
    _set_up_process(recipe)

    # --- data -----------------------------------------------------------------------------------------------------
    source = open_data(recipe.data)
    _check_against_data(recipe, source)
    plan = batch_size_plan(recipe, source.train.num_examples, strategy.num_replicas_in_sync)

    with strategy.scope():
        network, trainer = _compiled(recipe, source.num_classes, plan)
    return Prepared(recipe, source, network, trainer, strategy, plan)


def open_data(data):
    """The `Source` of a recipe's `data` section, with the training images it asks for."""
    from keras_tricks.data import open_source

    source = open_source(data.source, data.data_dir, data.max_bad_images, data.train_split, data.validation_split,
                         data.minival)  # fmt: skip
    if data.train_images is None:
        return source
    return dataclasses.replace(source, train=source.train.take(data.train_images))


def _compiled(recipe, classes, plan):
    # --- model ----------------------------------------------------------------------------------------------------
    network = build_network(recipe, classes)
    surgery.freeze(network, recipe.model.freeze, recipe.model.freeze_norms)
    if recipe.model.options.get("bn_momentum") == 0 and not recipe.optimizer.ema_decay:
        log.warning("bn_momentum is 0 and there is no weight average: evaluation would use the statistics of the last "
                    "batch alone. Set optimizer.ema_decay=0.9999, as the paper does, or model.options.bn_momentum=0.9.")

    # --- loss -----------------------------------------------------------------------------------------------------
    loss = losses.LabelSmoothingCrossentropy(recipe.loss.label_smoothing, recipe.loss.smoothing, from_logits=True)
    trainer = network
    if recipe.loss.teacher is not None:
        teacher = build_teacher(recipe, classes)
        trainer = losses.Distiller(network, teacher, recipe.loss.temperature)

    # --- optimizer ------------------------------------------------------------------------------------------------
    optimizer = build_optimizer(recipe, accumulates=any(p.accumulation_steps > 1 for p in plan))

    # --- schedule -------------------------------------------------------------------------------------------------
    # The learning rate is set before every batch by the BatchSizeScheduler callback, see `_train`.
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


def batch_size_plan(recipe, dataset_size, replicas):
    """The recipe's schedule as a plan: batch size, learning rate and steps of every epoch."""
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
    together, lengths = recipe.train.steps_per_execution, {p.steps_per_epoch for p in plan}
    if together > 1 and (len(lengths) > 1 or plan[0].steps_per_epoch % together):
        steps = ", ".join(map(str, sorted(lengths)))
        raise UserError(f"`train.steps_per_execution` must divide the steps of an epoch ({steps}), and be 1 where the "
                        f"batch grows. Received: {together}")
    options = recipe.model.options
    if replicas > 1 and plan[0].micro_batch < 16 and not options.get("sync_bn"):
        log.warning("%d images per replica are few for batch statistics of one replica: consider "
                    "--set model.options.sync_bn=true", plan[0].micro_batch)
    return plan


def train(recipe, output=None, resume=False, dry_run=False, verbose=None):
    """Trains a recipe.

    Args:
        recipe: name, path or `Recipe`.
        output: run folder. Defaults to `runs/<recipe name>`, numbered when that exists.
        resume: bool, continue the run in `output` after its last complete epoch.
        dry_run: bool, build everything, do one training and one evaluation step, write nothing.
        verbose: 0, 1 (bar) or 2 (a line per epoch). Defaults to a bar on a terminal and lines elsewhere.

    Returns:
        A `Run`; after a dry run its `folder` is `None`.

    Raises:
        UserError: a mistake in the recipe, the data or the output folder, before anything is written.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    ready = prepare(recipe)
    if recipe.data.service is not None:
        from keras_tricks.data import service

        ready.service = service.connect(recipe.data, ready.source)
    verbose = (1 if sys.stdout.isatty() else 2) if verbose is None else verbose
    if dry_run:
        return _dry_run(ready, verbose)
    from keras_tricks.distribution import is_chief

    if is_chief(ready.strategy):
        folder = claim_folder(recipe, output, resume)
        with log_file(folder):
            return _train(ready, folder, folder, resume, verbose)
    # The other workers take part in every step and leave nothing behind.
    with tempfile.TemporaryDirectory() as scratch:
        return _train(ready, pathlib.Path(scratch), claim_folder(recipe, output, resume=True), resume, verbose=0)


def _train(ready, folder, resume_from, resume, verbose):
    recipe, source, trainer = ready.recipe, ready.source, ready.trainer
    plan = ready.plan
    validation = validation_batches(ready)
    ema = callbacks.WeightEMA(recipe.optimizer.ema_decay, validation) if recipe.optimizer.ema_decay else None
    checkpoint = callbacks.Checkpoint(folder, ema=ema)
    start_epoch = checkpoint.restore(trainer, resume_from) if resume else 0
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "env.json").write_text(json.dumps(environment(), indent=2) + "\n")
    log.info("%s: %d training and %d validation images of %d classes, %d epochs",
             recipe.name, source.train.num_examples, source.validation.num_examples, source.num_classes, plan.epochs)
    log.info("%s", plan)
    if start_epoch:
        log.info("continuing after epoch %d of %d", start_epoch, plan.epochs)

    # --- schedule -------------------------------------------------------------------------------------------------
    scheduler = callbacks.BatchSizeScheduler(plan)

    # --- train ----------------------------------------------------------------------------------------------------
    from keras_tricks.data import WaitClock

    clock = WaitClock()
    run_log = callbacks.RunLog(folder, plan, clock)
    watchers = [*([ema] if ema else []), callbacks.OverflowLog(), run_log, checkpoint]
    history = {}
    with data_errors_in_words(source, ready.service):
        for epochs in _fits(ready, start_epoch):
            # --- data, augment ------------------------------------------------------------------------------------
            done = trainer.fit(
                clock.watch(training_batches(ready, epochs)),
                epochs=epochs.stop,
                initial_epoch=epochs.start,
                steps_per_epoch=max(plan.phase(e).steps_per_epoch for e in epochs),
                validation_data=validation,
                validation_freq=recipe.train.evaluate_every,
                callbacks=[*watchers, scheduler],
                shuffle=False,
                verbose=verbose,
            )
            for name, values in done.history.items():
                history.setdefault(name, []).extend(values)
    report_bad_images(source)

    # --- export ---------------------------------------------------------------------------------------------------
    from keras_tricks import export
    from keras_tricks.data import evaluation_image

    build = functools.partial(build_network, recipe, source.num_classes)
    model = export.deployable(build, ready.network, recipe.data)
    pixels_of = functools.partial(evaluation_image, data=recipe.data)
    for kind, path in export.export(model, folder / "export", recipe.export.formats, source.class_names,
                                    pixels_of).items():  # fmt: skip
        log.info("exported %s to %s", kind, path)
    (folder / "export" / "classes.json").write_text(json.dumps(source.class_names) + "\n")
    report_result(folder)
    return Run(history, model, folder, ready.network)


def _fits(ready, start_epoch):
    """The epochs of each call of `fit`: one for the whole run, or one for each phase where shapes must be static."""
    import tensorflow as tf

    plan = ready.plan
    static = ready.recipe.train.static_shapes or isinstance(ready.strategy, tf.distribute.TPUStrategy)
    parts = [phase.epochs for phase in plan] if static else [range(plan.epochs)]
    return [range(max(p.start, start_epoch), p.stop) for p in parts if p.stop > start_epoch]


def _dry_run(ready, verbose):
    training, validation = training_batches(ready, range(1)).take(1), validation_batches(ready)
    with data_errors_in_words(ready.source, ready.service):
        history = ready.trainer.fit(training, validation_data=validation.take(1), shuffle=False, verbose=verbose)
    print("Dry run: one training step and one evaluation step done; nothing was written.")
    return Run(history.history, ready.network, None, ready.network)


def training_batches(ready, epochs):
    """Batches of some consecutive epochs, a `range`."""
    from keras_tricks import data

    recipe, source = ready.recipe, ready.source
    return data.training_batches(source.train, recipe.data, recipe.augment, source.num_classes, ready.plan, recipe.seed,
                                 epochs, ready.service)


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


class data_errors_in_words:
    """Turns errors raised inside the input pipeline into `UserError`s."""

    def __init__(self, source, service=None):
        self.source, self.service = source, service

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        import tensorflow as tf

        if not isinstance(error, tf.errors.OpError):
            return False
        if self.service is not None and self.service.error is not None:
            error = self.service.error
            if isinstance(error, UserError):
                raise error from None
        if isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)):
            reason = (error.message or type(error).__name__).splitlines()[0][:200]
            raise WorkerLost(f"another worker ended or cannot be reached ({reason}). Start all workers again with "
                             "--resume: they continue after the last complete epoch.") from None
        for split in (self.source.train, self.source.validation):
            if split.bad is not None:
                split.bad.check()
        text = error.message or str(error)
        if "is not in [0, " in text and "Gather" in text:
            raise UserError(f"A label of {self.source.name} is not one of its {self.source.num_classes} classes: "
                            f"{_line(text, 'is not in [0, ')}") from None
        if any(word in text for word in ("JPEG", "jpeg", "PNG", "image data")):
            raise UserError(f"An image of {self.source.name} cannot be decoded: {text.splitlines()[0]} "
                            "`keras-tricks data check` finds it.") from None
        return False


def _line(text, word):
    """The line of TensorFlow's message that holds `word`; the first ones only say where."""
    return next((line.strip() for line in text.splitlines() if word in line), text.splitlines()[0])
