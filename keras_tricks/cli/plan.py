"""show the plan of a run, without training"""

import dataclasses
import json
import math
import sys

from keras_tricks.cli import arguments


def add_arguments(parser):
    arguments.add_recipe_arguments(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw batch size, learning rate and noise scale as a PNG")
    parser.add_argument("--measure", action="store_true",
                        help="do some steps, and print the minutes of the run, memory and the largest batch that fits")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="set the output format")


def run(args):
    from keras_tricks import training
    from keras_tricks.studies import step_time

    ready = training.prepare(arguments.recipe_from(args))
    text, found = describe(ready), facts(ready)  # before the steps, which change the optimizer
    spent = step_time.measure(ready, *_numbers(ready)) if args.measure else None
    if args.format == "json":
        print(json.dumps(found | ({"measured": dataclasses.asdict(spent)} if spent else {}), indent=2))
    else:
        print(text, *(describe_cost(spent, ready.plan) if spent else ()), sep="\n")
    if args.plot:
        draw(ready.plan, args.plot)
        print(f"drawn to {args.plot}", file=sys.stderr if args.format == "json" else sys.stdout)


def facts(ready):
    """The plan of a prepared run as plain values, for JSON."""
    recipe, source, plan, (spent, _) = ready.recipe, ready.source, ready.plan, _cost(ready)
    phases = [{"first_epoch": p.epochs.start, "epochs": len(p.epochs), "batch_size": p.batch_size,
               "micro_batch": p.micro_batch, "accumulation_steps": p.accumulation_steps,
               "steps_per_epoch": p.steps_per_epoch, "updates_per_epoch": p.updates_per_epoch,
               "learning_rate": plan.rate(p.epochs.start)} for p in plan]
    return {"recipe": recipe.name, "model": recipe.model.name, "image_size": recipe.data.image_size,
            "parameters": spent.parameters if spent else ready.network.count_params(),
            "multiply_adds": spent.macs if spent else None, "data": source.name,
            "training_images": source.train.num_examples, "validation_images": source.validation.num_examples,
            "classes": source.num_classes, "epochs": plan.epochs, "updates": plan.updates, "replicas": plan.replicas,
            "precision": recipe.train.precision, "phases": phases,
            "memory": _memory(ready, spent) if spent else None}


def describe_cost(spent, plan):
    """The lines of a `RunCost`."""
    size = plan[0].step_size
    yield (f"measured    {1000 * spent.step_seconds:.0f} ms a step of {size} images: "
           f"{size / spent.step_seconds:,.0f} images/s; {spent.evaluation_seconds:.1f} s an evaluation")
    minutes = f"{spent.seconds / 60:,.1f} minutes" if spent.seconds > 120 else f"{spent.seconds:.0f} seconds"
    once = spent.prepare_seconds + spent.start_seconds
    yield (f"time        about {minutes}: {once:.0f} s before the first step and in compilation, "
           f"{spent.checkpoint_seconds:.1f} s a checkpoint, {spent.export_seconds:.0f} s of export")
    if spent.peak_memory is not None:
        yield f"used        {spent.peak_memory / 2**30:.2f} GiB by this process at most"
    largest = spent.largest_batch
    yield f"fits        {'unknown on this device' if largest is None else f'about {largest:,} images per replica'}"


def _numbers(ready):
    """(bytes of an activation, numbers that the optimizer holds for each weight)."""
    from keras_tricks.optimizers.describe import slots

    return (4 if ready.recipe.train.precision == "float32" else 2,
            slots(ready.trainer.optimizer, ready.network.trainable_variables))


def _memory(ready, spent):
    """Estimated bytes of a training step on one replica."""
    return spent.training_memory(max(p.micro_batch for p in ready.plan), *_numbers(ready))


def describe(ready):
    """The plan of a prepared run as text: data, model, optimizer, learning rate by phase, memory."""
    from keras_tricks.run.combinations import remarks

    recipe, source, schedule, plan = ready.recipe, ready.source, ready.recipe.schedule, ready.plan
    size = recipe.data.image_size
    spent, cost = _cost(ready)
    replicas, accumulation = plan.replicas, plan[0].accumulation_steps
    memory = "unknown: the model is subclassed"
    if spent is not None:
        needed = _memory(ready, spent)
        memory = f"about {needed / 2**30:.2f} GiB per replica (weights, gradients, optimizer, activations)"
    lines = [
        f"recipe      {recipe.name}   {recipe.about.paper}",
        *_reference(recipe),
        f"data        {source.name}: {source.train.num_examples:,} training, {source.validation.num_examples:,} "
        f"validation images, {source.num_classes} classes{_how_read(source)}",
        f"augment     {_augment(ready)}",
        f"model       {recipe.model.name} at {size} px: {cost}",
        f"loss        {_loss(ready.trainer)}",
        f"optimizer   {_optimizer(ready)}",
        *_decayed(ready),
        f"batch       {schedule.batch_size} = {plan[0].micro_batch} per replica x {replicas} "
        f"{'replica' if replicas == 1 else 'replicas'} x {accumulation} "
        f"{'micro-batch' if accumulation == 1 else 'micro-batches'}",
        f"steps       {plan.updates:,} updates in {plan.epochs} epochs",
        "schedule",
        *_phases(ready),
        *(f"  {line}" for line in str(plan).splitlines()[:-1]),
        f"precision   {recipe.train.precision}",
        *_execution(ready),
        f"memory      {memory}",
        *_callbacks(ready),
        f"export      {', '.join(recipe.export.formats)}",
        *(f"note        {text}" for text in remarks(recipe)),
    ]
    return "\n".join(lines)


def _cost(ready):
    """(`Cost` or `None`, text) of the network; a subclassed one has no graph from which to count."""
    from keras_tricks.analysis import cost
    from keras_tricks.utils.errors import UserError

    network = ready.network
    try:
        found = cost(network, ready.recipe.data.image_size if network.input_shape[1] is None else None)
    except (UserError, AttributeError):  # the second: without an input shape
        return None, f"{network.count_params():,} parameters"
    return found, f"{found.parameters:,} parameters, {found.macs / 1e9:.3f} G multiply-adds per image"


def _execution(ready):
    """Yields whether a run is deterministic and compiled by XLA on its devices, and what each costs."""
    train, devices = ready.recipe.train, ready.devices
    deterministic = devices.is_deterministic(train.deterministic)
    compiled = devices.compile_arguments(train.jit_compile)["jit_compile"]
    costs = {
        "determinism": (deterministic, train.deterministic,
                        "equal runs give equal bits; a GPU has slower kernels for it", "equal runs differ slightly"),
        "XLA": (compiled, train.jit_compile, "one compilation for each batch size, before its first step",
                "nothing is compiled; on one GPU steps are slower, on a CPU faster"),
    }
    for name, (on, asked, cost, otherwise) in costs.items():
        chosen = " (auto)" if asked == "auto" else ""
        yield f"{name:<12}{'on' if on else 'off'}{chosen}: {cost if on else otherwise}"


def _callbacks(ready):
    """Yields a line about the callbacks of the user, if there are any."""
    names = [type(callback).__name__ for callback in ready.own_callbacks]
    if names:
        paths = [path for path in ready.recipe.train.callbacks if not path.startswith("<")]
        yield f"callbacks   {', '.join(names)}" + (f" (from {', '.join(paths)})" if paths else "")


def _how_read(source):
    parts = [name for name, split in (("training", source.train), ("validation", source.validation))
             if split.fetch is None]
    return f", {' and '.join(parts)} images read as a stream" if parts else ""


def _reference(recipe):
    """Yields what the recipe follows, its expected result, and each value that is not the reference's."""
    from keras_tricks.studies.reference import differences

    about = recipe.about
    if about.follows:
        yield f"follows     {about.follows}"
    found = differences(recipe)
    undeclared = ", ".join(d.key for d in found if not d.reason)
    if about.expected_top1 is not None and not about.measured:
        unless = f"; not expected here, because of {undeclared}" if undeclared else ""
        yield f"expected    {about.expected_top1:g} % top-1 ({about.expected_from}){unless}"
    for d in found:
        reason = f" ({d.reason})" if d.reason else ""
        yield f"differs     {d.key} {d.value}{reason}; {d.reference.value} in {d.reference.source}"


def _augment(ready):
    """The augmentation of the batches that the pipeline makes, and the epoch from which they are not mixed."""
    from keras_tricks.data.pipeline import batch_ranges
    from keras_tricks.run.build import sizes_of_run

    recipe, plan = ready.recipe, ready.plan
    first, *others = batch_ranges(ready.source.train, recipe.data, recipe.augment, ready.source.num_classes, plan,
                                  recipe.seed, range(plan.epochs))
    text, sizes = _augment_section(first.augment), sizes_of_run(recipe.data, plan)
    if len(sizes) > 1:
        text += "".join(f", {size} px in epochs {epochs.start} to {epochs.stop - 1}" for epochs, size in sizes)
    plain = next((r for r in others if _mixes(first.augment) and not _mixes(r.augment)), None)
    return text if plain is None else f"{text}, not mixed from epoch {plain.epochs.start} on"


def _mixes(augment):
    return bool(augment.mixup_alpha or augment.cutmix_alpha)


def _augment_section(augment):
    crops = {"random_resized": "random-resized crop", "distorted": "TensorFlow's distorted crop",
             "pad": f"pad {augment.pad} and crop", "none": "no crop"}
    parts = [crops[augment.crop]]
    parts += ["alternating flip" if augment.flip == "alternating" else "flip"] if augment.flip else []
    parts += [f"colour jitter ({augment.color_jitter})"] if augment.color_jitter != "none" else []
    parts += [f"PCA noise {augment.pca_noise:g}"] if augment.pca_noise else []
    if augment.rand_augment_layers:
        std = augment.rand_augment_magnitude_std
        increasing = f", increasing, std {std:g}" if augment.rand_augment_increasing else ""
        parts += [f"RandAugment({augment.rand_augment_layers}, {augment.rand_augment_magnitude:g}{increasing})"]
    parts += ["TrivialAugment"] if augment.trivial_augment else []
    parts += [f"random erasing {augment.random_erasing:g}"] if augment.random_erasing else []
    parts += [f"{augment.repeats} copies of each image"] if augment.repeats > 1 else []
    parts += [f"mixup {augment.mixup_alpha:g} per {augment.mixup_per}"] if augment.mixup_alpha else []
    parts += [f"CutMix {augment.cutmix_alpha:g} per {augment.mixup_per}"] if augment.cutmix_alpha else []
    return ", ".join(parts)


def _loss(trainer):
    from keras_tricks.losses import BinaryCrossentropy, ClassWeightedCrossentropy, Distiller

    binary = isinstance(trainer.loss, BinaryCrossentropy)
    smoothing = f"label smoothing {trainer.loss.label_smoothing:g} ({trainer.loss.smoothing})"
    text = f"{'binary ' if binary else ''}cross entropy, {smoothing}"
    if binary and trainer.loss.target_threshold is not None:
        text += f", threshold {trainer.loss.target_threshold:g}"
    if isinstance(trainer.loss, ClassWeightedCrossentropy):
        weights = trainer.loss.class_weight
        text += f", class weights {min(weights):.4g} to {max(weights):.4g}"
    if isinstance(trainer, Distiller):
        text += f", taught by {trainer.teacher.name} at T = {trainer.temperature:g}"
    return text


def _optimizer(ready):
    from keras_tricks.optimizers import describe

    section = ready.recipe.optimizer
    parts = [describe(ready.trainer.optimizer)]
    parts += [f"sharpness-aware {section.sam_rho:g}"] if section.sam_rho else []
    parts += [f"weight average {section.ema_decay:g}"] if section.ema_decay else []
    parts += [f"average of the last {section.swa_epochs} epochs"] if section.swa_epochs else []
    return ", ".join(parts)


def _decayed(ready):
    from keras_tricks.optimizers.describe import is_decayed

    variables = ready.network.trainable_variables
    excluded = [v for v in variables if not is_decayed(ready.trainer.optimizer, v)]
    names = sorted({v.name for v in excluded})
    yield f"  decayed   {len(variables) - len(excluded)} tensors"
    yield f"  excluded  {len(excluded)} tensors" + (f" ({', '.join(names)})" if names else "")


def _phases(ready):
    """Yields a line for the warmup, each step of the decay and each batch size: epochs and learning rates."""
    schedule, plan = ready.recipe.schedule, ready.plan
    edges = {0.0, float(schedule.epochs), min(schedule.warmup_epochs, schedule.epochs)}
    edges |= {float(phase.epochs.start) for phase in plan}
    if schedule.decay == "step":
        edges |= {float(m) for m in schedule.milestones if m < schedule.epochs}
    edges = sorted(edges)

    for start, end in zip(edges, edges[1:], strict=False):
        first, last = plan.rate(*_update(plan, start)), plan.rate(*_update(plan, end, -1))
        what = "warmup" if end <= schedule.warmup_epochs else schedule.decay
        change = f"{first:.6g}" if abs(first - last) < 1e-12 else f"{first:.6g} -> {last:.6g}"
        yield f"  epochs {start:g} to {end:g}: learning rate {change} ({what})"


def _update(plan, epoch, offset=0):
    """(epoch, update in it) of the update that is `offset` updates after a fractional epoch."""
    whole = min(math.ceil(epoch) - 1 if offset < 0 else int(epoch), plan.epochs - 1)
    return whole, round((epoch - whole) * plan.phase(whole).updates_per_epoch) + offset


def draw(plan, path):
    """Draws batch size, learning rate, noise scale and updates over the epochs as a PNG that is replaced atomically."""
    from keras_tricks import schedules
    from keras_tricks.utils.plotting import new_figure, save_figure

    epochs = range(plan.epochs)
    rates, sizes = [plan.rate(e) for e in epochs], [plan.phase(e).batch_size for e in epochs]
    panels = {
        "batch size": sizes,
        "learning rate": rates,
        "noise scale": [schedules.noise_scale(r, b, plan.dataset_size, plan.momentum)
                        for r, b in zip(rates, sizes, strict=True)],
        "parameter updates so far": [plan.updates_before(e + 1) for e in epochs],
    }
    figure = new_figure(13, 3.2)
    for axis, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.step(epochs, values, where="post")
        axis.set(title=title, xlabel="epoch", yscale="linear" if title.startswith("parameter") else "log")
        axis.grid(alpha=0.3)
    save_figure(figure, path, "--plot")
