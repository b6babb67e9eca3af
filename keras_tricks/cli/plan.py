"""show what would run, without training"""

import math

from keras_tricks.cli import arguments


def add_arguments(parser):
    arguments.add_recipe_arguments(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw batch size, learning rate and noise scale as a PNG")


def run(args):
    from keras_tricks import training

    ready = training.prepare(arguments.recipe_from(args))
    print(describe(ready))
    if args.plot:
        draw(ready.plan, args.plot)
        print(f"drawn to {args.plot}")


def describe(ready):
    """The plan of a prepared run, as text: data, model, optimizer, learning rate by phase, memory."""
    from keras_tricks.analysis import cost

    recipe, source, schedule, plan = ready.recipe, ready.source, ready.recipe.schedule, ready.plan
    size = recipe.data.image_size
    spent = cost(ready.network)
    bytes_per_number = 4 if recipe.train.precision == "float32" else 2
    replicas, accumulation = plan.replicas, plan[0].accumulation_steps
    memory = spent.training_memory(max(p.micro_batch for p in plan), bytes_per_number)
    lines = [
        f"recipe      {recipe.name}   {recipe.about.paper}",
        f"data        {source.name}: {source.train.num_examples:,} training, {source.validation.num_examples:,} "
        f"validation images, {source.num_classes} classes",
        f"augment     {_augment(recipe.augment)}",
        f"model       {recipe.model.name} at {size} px: {spent.parameters:,} parameters, {spent.macs / 1e9:.3f} G "
        "multiply-adds per image",
        f"loss        cross entropy, label smoothing {recipe.loss.label_smoothing:g} ({recipe.loss.smoothing})"
        + (f", taught by {recipe.loss.teacher} at T = {recipe.loss.temperature:g}" if recipe.loss.teacher else ""),
        f"optimizer   {_optimizer(recipe.optimizer)}",
        *_decayed(ready),
        f"batch       {schedule.batch_size} = {plan[0].micro_batch} per replica x {replicas} "
        f"{'replica' if replicas == 1 else 'replicas'} x {accumulation} "
        f"{'micro-batch' if accumulation == 1 else 'micro-batches'}",
        f"steps       {plan.updates:,} updates in {plan.epochs} epochs",
        "schedule",
        *_phases(ready),
        *(f"  {line}" for line in str(plan).splitlines()[:-1]),
        f"precision   {recipe.train.precision}",
        f"memory      about {memory / 2**30:.2f} GiB per replica (weights, gradients, momentum, activations)",
        f"export      {', '.join(recipe.export.formats)}",
    ]
    return "\n".join(lines)


def _augment(augment):
    crops = {"random_resized": "random-resized crop", "pad": f"pad {augment.pad} and crop", "none": "no crop"}
    parts = [crops[augment.crop]]
    parts += ["flip"] if augment.flip else []
    parts += [f"colour jitter ({augment.color_jitter})"] if augment.color_jitter != "none" else []
    parts += [f"PCA noise {augment.pca_noise:g}"] if augment.pca_noise else []
    if augment.rand_augment_layers:
        parts += [f"RandAugment({augment.rand_augment_layers}, {augment.rand_augment_magnitude:g})"]
    parts += [f"mixup {augment.mixup_alpha:g} per {augment.mixup_per}"] if augment.mixup_alpha else []
    parts += [f"CutMix {augment.cutmix_alpha:g} per {augment.mixup_per}"] if augment.cutmix_alpha else []
    return ", ".join(parts)


def _optimizer(section):
    nesterov = "Nesterov " if section.nesterov else ""
    parts = [f"SGD, {nesterov}momentum {section.momentum:g}, weight decay {section.weight_decay:g} (coupled)"]
    parts += [f"AGC {section.agc_clip_factor:g}"] if section.agc_clip_factor else []
    parts += [f"weight average {section.ema_decay:g}"] if section.ema_decay else []
    return ", ".join(parts)


def _decayed(ready):
    from keras_tricks.optimizers.no_decay import is_exempt

    variables = ready.network.trainable_variables
    excluded = [v for v in variables if ready.recipe.optimizer.no_bias_decay and is_exempt(v)]
    names = sorted({v.name for v in excluded})
    yield f"  decayed   {len(variables) - len(excluded)} tensors"
    yield f"  excluded  {len(excluded)} tensors" + (f" ({', '.join(names)})" if names else "")


def _phases(ready):
    """One line per warmup, per step of the decay and per batch size: epochs and learning rates."""
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
    """(epoch, update within it) of the update at a fractional epoch, `offset` updates later."""
    whole = min(math.ceil(epoch) - 1 if offset < 0 else int(epoch), plan.epochs - 1)
    return whole, round((epoch - whole) * plan.phase(whole).updates_per_epoch) + offset


def draw(plan, path):
    """Draws batch size, learning rate, noise scale and updates over the epochs as a PNG, replaced in one step."""
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
