"""The parts of a run, built from its recipe in data-flow order: network, teacher, loss, optimizer, schedule."""

import logging

import keras
import numpy as np

from keras_tricks import analysis, losses, models, optimizers, schedules
from keras_tricks.run.weights import resolve_weights, teacher_options
from keras_tricks.utils.class_names import difference
from keras_tricks.utils.errors import UserError, nearest, one_line
from keras_tricks.utils.import_path import is_import_path
from keras_tricks.weights import find, load, match_classifier

log = logging.getLogger("absl")

FEW_IMAGES = 16  # images per replica below which batch statistics are poor


def check_channels(recipe):
    """Raises a `UserError` if the normalization or the augmentation does not fit `data.channels`."""
    data, augment = recipe.data, recipe.augment
    for key in ("mean", "std"):
        values = getattr(data, key)
        if len(values) not in (1, data.channels):
            average = round(sum(values) / len(values), 1)
            raise UserError(f"`data.{key}` has {len(values)} numbers, and `data.channels` is {data.channels}: give one "
                            f"for each channel, or one for all, such as the average --set data.{key}=[{average}].")
    if data.channels in (1, 3):  # grey images are augmented in colour
        return
    colour = {"color_jitter": augment.color_jitter != "none", "pca_noise": augment.pca_noise > 0,
              "rand_augment_layers": augment.rand_augment_layers > 0, "trivial_augment": augment.trivial_augment}
    for key in (key for key, is_on in colour.items() if is_on):
        raise UserError(f"`augment.{key}` needs images in colour or grey, and `data.channels` is {data.channels}: "
                        "switch it off. Crops, flips, random erasing and mixing work.")


def build_network(recipe, classes, class_names=(), initial=True, build=None):
    """The recipe's network, logits out, in the current precision policy.

    Args:
        recipe: `Recipe`.
        classes: integer.
        class_names: names of the classes. If the weights of `model.weights` have other ones, their classifier is
            reordered, or initialized again. Defaults to `()`: not compared.
        initial: bool, whether to load `model.weights`. Defaults to `True`.
        build: function of the user that builds the model. Defaults to `None`: `model.name` is a registry key or an
            import path.
    """
    check_channels(recipe)
    model, options = recipe.model, dict(recipe.model.options)
    weights = resolve_weights(model.weights) if initial else None
    if model.weights is not None and not initial and build is None:
        options = _layout(model.name, model.weights) | options
    if model.zero_gamma:
        options["zero_gamma"] = True
    size = recipe.data.image_size
    if (recipe.data.test_size != size or recipe.data.progressive_resizing) and "input_shape" not in options:
        size = None  # trained and evaluated at different sizes
    options.setdefault("input_shape", (size, size, recipe.data.channels))
    network = models.create_model(build or model.name, classes=classes, classifier_activation=None, weights=weights,
                                  **options)
    if build is not None or is_import_path(model.name):
        _check_normalization(network, recipe)
    _check_sizes(network, recipe.data)
    if weights is not None:
        match_classifier(network, find(weights).class_names, class_names or find(weights).class_names, weights)
    return network


def _check_sizes(network, data):
    """Raises a `UserError` if the network does not take images of a size of `data.progressive_resizing`."""
    for size, _ in data.progressive_resizing:
        try:
            network.compute_output_spec(keras.KerasTensor((None, size, size, data.channels)))
        except (ValueError, TypeError) as error:
            raise UserError(f"`data.progressive_resizing` has {size} pixels, and {network.name} does not take such "
                            f"images: {one_line(error)}") from None


def _check_normalization(network, recipe):
    """Raises a `UserError` if the network normalizes its images and the pipeline does so as well."""
    layer = models.own.normalizes_itself(network)
    if layer and ({*recipe.data.mean}, {*recipe.data.std}) != ({0.0}, {1.0}):
        raise UserError(f"{recipe.model.name} normalizes its images itself (layer {layer!r}), and the data are "
                        "normalized before: set data.mean=[0,0,0] and data.std=[1,1,1], which gives it pixels from 0 "
                        "to 255, or leave out that layer.")


def build_teacher(recipe, classes, class_names=()):
    """The recipe's teacher, logits out, with its trained weights. Arguments as those of `build_network`.

    A teacher with more classes, or with the same ones in another order, answers for the student's by name.

    Raises:
        UserError: no weights, weights of another network, or a teacher that lacks a class.
    """
    loss = recipe.loss
    if recipe.optimizer.sam_rho:
        raise UserError("`optimizer.sam_rho` with `loss.teacher`: both change the training step, and only one of them "
                        "can. Set optimizer.sam_rho=0 or leave out the teacher.")
    if loss.teacher_weights is None:
        raise UserError(f"The teacher {loss.teacher} needs trained weights: --set loss.teacher_weights=RUN, a run "
                        "folder, or a file. Train it first.")
    options = teacher_options(recipe)
    weights = resolve_weights(loss.teacher_weights)
    known, size = find(weights).class_names, recipe.data.image_size
    same = not (known and class_names) or known == tuple(class_names)
    teacher = models.create_model(loss.teacher, classes=classes if same else len(known), classifier_activation=None,
                                  input_shape=(size, size, recipe.data.channels),
                                  **_layout(loss.teacher, weights) | options)
    load(teacher, weights)
    if same:
        return teacher
    if not set(class_names) <= set(known):
        raise UserError(f"The teacher {loss.teacher_weights} has other classes than the data "
                        f"({difference(class_names, known, of_known='the teacher')}).")
    chosen = keras.ops.take(teacher.output, [known.index(name) for name in class_names], axis=-1)
    return keras.Model(teacher.input, chosen, name=teacher.name)


def _layout(name, weights):
    """The option `layout` of a normalizer-free network with these weights, as a dict; empty for other networks."""
    if "layout" not in models.arguments_of(name):
        return {}
    return {"layout": models.normalizer_free.layout_for(resolve_weights(weights))}


def class_weights(recipe, source):
    """The weight of each class of a `Source`, a list; `None` if the recipe has no class weights.

    Raises:
        UserError: a weight of an unknown class, or data whose labels are not known without reading every image.
    """
    wanted, names = recipe.loss.class_weight, source.class_names
    if wanted == "none":
        return None
    if recipe.data.multi_label:
        raise UserError("`loss.class_weight` needs one label an image, and `data.multi_label` is true: leave it out.")
    if wanted == "balanced":
        if source.train.labels is None:
            raise UserError(f"`loss.class_weight` is balanced, and {source.name} gives labels only with the images: "
                            'name the weights, --set \'loss.class_weight={"class name": 2.0}\'.')
        counts = np.bincount(source.train.labels, minlength=len(names))
        return losses.balanced_class_weights(counts)
    unknown = next((name for name in wanted if name not in names), None)
    if unknown is not None:
        raise UserError(f"`loss.class_weight` has the class {unknown!r}, and {source.name} has no such class."
                        f"{nearest(unknown, names)} Its classes: {', '.join(names[:5])}{', ...' * (len(names) > 5)}.")
    return [wanted.get(name, 1.0) for name in names]


def build_loss(recipe, weights=None):
    """The recipe's cross entropy; `weights` are those of the classes, or `None`."""
    section = recipe.loss
    if recipe.data.multi_label and section.name != "binary_crossentropy":
        raise UserError(f"`loss.name` is {section.name}, which expects one label an image, and `data.multi_label` is "
                        "true: --set loss.name=binary_crossentropy.")
    if recipe.data.multi_label and section.teacher is not None:
        raise UserError(f"`loss.teacher` is {section.teacher}, whose answers are those of one label an image, and "
                        "`data.multi_label` is true: leave out the teacher.")
    if section.name == "binary_crossentropy":
        if weights is not None:
            raise UserError("`loss.class_weight` needs `loss.name=crossentropy`: the binary cross entropy has no class "
                            "weights.")
        return losses.BinaryCrossentropy(section.label_smoothing, section.smoothing, section.target_threshold,
                                         section.sum_classes, from_logits=True)
    if section.target_threshold is not None or section.sum_classes:
        raise UserError("`loss.target_threshold` and `loss.sum_classes` need `loss.name=binary_crossentropy`.")
    arguments = section.label_smoothing, section.smoothing
    if weights is not None:
        return losses.ClassWeightedCrossentropy(weights, *arguments, from_logits=True)
    return losses.LabelSmoothingCrossentropy(*arguments, from_logits=True)


def build_metrics(loss, distilled, balanced_classes=None, label_classes=None):
    """Metrics of a run, each a sum over images divided by the sum of their weights.

    The loss is one of them: Keras divides the weighted loss of a batch by its size, so that it shrinks with every
    padded or broken image. A metric named "loss" takes its place in the logs. A distiller's training loss has a second
    term; there the metric is reported in addition. With class weights the metric is the loss without them, which other
    runs and `evaluate` report, and `balanced_classes`, the number of classes, adds the mean accuracy of the classes.
    `label_classes` is the number of classes of images with several labels: top-1 then asks whether the best class is
    one of them, and mAP and F1 replace top-5.
    """
    mean = keras.metrics.MeanMetricWrapper
    loss_metric = mean(loss.call, name="cross_entropy" if distilled else "loss")
    if label_classes is not None:
        return [mean(analysis.is_best_right, name="top1"), loss_metric, analysis.MeanAveragePrecision(label_classes),
                analysis.MacroF1(label_classes)]
    further = [] if balanced_classes is None else [analysis.BalancedAccuracy(balanced_classes)]
    return [
        keras.metrics.CategoricalAccuracy(name="top1"),
        keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        loss_metric,
        *further,
    ]


def build_optimizer(recipe, accumulates=False):
    """The recipe's optimizer with its wrappers; `accumulates`: whether any phase divides its batches."""
    section = recipe.optimizer
    optimizer = _innermost(section)
    if section.agc_clip_factor:
        optimizer = optimizers.AGC(optimizer, section.agc_clip_factor, exclude=section.agc_exclude)
    if section.lookahead_steps:
        optimizer = optimizers.Lookahead(optimizer, section.lookahead_steps, section.lookahead_step_size)
    if accumulates:
        optimizer = optimizers.GradientAccumulation(optimizer, section.accumulation_steps)
    if recipe.train.precision == "mixed_float16":
        optimizer = optimizers.LossScale(optimizer)
    elif recipe.train.skip_non_finite:
        optimizer = optimizers.LossScale(optimizer, 1.0, 2**31 - 1)
    return optimizer


def sharpness_aware(recipe, network, plan):
    """The model to fit: the network, inside `SharpnessAware` if the recipe has `optimizer.sam_rho`."""
    section = recipe.optimizer
    if not section.sam_rho:
        return network
    for phase in plan:
        optimizers.check_stride(section.sam_stride, phase.micro_batch)
    return optimizers.SharpnessAware(network, section.sam_rho, section.sam_stride)


def _innermost(section):
    """The optimizer inside all wrappers, of the `optimizer` section of a recipe."""
    decay = {"weight_decay": section.weight_decay or None}
    coupled = {"no_bias_decay": section.no_bias_decay, "weight_decay": section.weight_decay}
    cls, arguments = {
        "adam": (keras.optimizers.Adam, {"beta_1": section.momentum, **decay}),
        "lamb": (keras.optimizers.Lamb, {"beta_1": section.momentum, **decay}),
        "muon": (optimizers.Muon, {"momentum": section.momentum, **coupled}),
        "sgd": (optimizers.SGD, {"momentum": section.momentum, "nesterov": section.nesterov, **coupled}),
    }[section.name]
    try:
        return cls(**{"learning_rate": 0.0, **arguments, **section.options})
    except (TypeError, ValueError) as error:
        raise UserError(f"`optimizer.options` of {cls.__name__}: {one_line(error)}") from None


def decay_of(schedule):
    """The decay of a recipe's schedule as a `kt.schedules` object, or `None` if it is constant."""
    if schedule.decay == "cosine":
        return schedules.Cosine(schedule.epochs)
    if schedule.decay == "linear":
        return schedules.Linear(schedule.epochs)
    return schedules.Step(schedule.milestones, schedule.factor) if schedule.decay == "step" else None


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
        growth_exponent=schedule.growth_exponent or (0.5 if recipe.optimizer.name in ("adam", "lamb") else 1.0),
    )
    per_call, lengths = recipe.train.steps_per_execution, {p.steps_per_epoch for p in plan}
    if per_call > 1 and (len(lengths) > 1 or plan[0].steps_per_epoch % per_call):
        steps = ", ".join(map(str, sorted(lengths)))
        raise UserError(f"`train.steps_per_execution` must divide the steps of an epoch ({steps}), and be 1 where the "
                        f"batch grows. Received: {per_call}")
    if recipe.augment.repeats > 1:
        from keras_tricks.data import check_repeats

        for phase in plan:
            check_repeats(phase.step_size, recipe.augment.repeats)
    sizes_of_run(recipe.data, plan)  # raises a `UserError`
    if replicas > 1 and plan[0].micro_batch < FEW_IMAGES and not recipe.model.options.get("sync_bn"):
        log.warning("%d images per replica are few for the batch statistics of one replica: try "
                    "--set model.options.sync_bn=true", plan[0].micro_batch)
    return plan


def sizes_of_run(data, plan):
    """(`range` of epochs, pixels) of each size of training images, of a recipe's `data` and a `BatchSizePlan`."""
    from keras_tricks.data.progressive_resizing import spans_of_sizes

    return spans_of_sizes(data.image_size, data.progressive_resizing, plan.epochs)
