"""`keras-tricks plan`: what a recipe would do, in numbers, without training."""

from keras_tricks import schedules
from keras_tricks.analysis import cost
from keras_tricks.optimizers.no_decay import is_exempt
from keras_tricks.training import decay_of


def describe(ready):
    """The plan of a prepared run, as text: data, model, optimizer, learning rate by phase, memory."""
    recipe, source, schedule = ready.recipe, ready.source, ready.recipe.schedule
    size = recipe.data.image_size
    spent = cost(ready.network)
    bytes_per_number = 4 if recipe.train.precision == "float32" else 2
    replicas, accumulation = ready.strategy.num_replicas_in_sync, recipe.optimizer.accumulation_steps
    memory = spent.training_memory(ready.batch_size // replicas, bytes_per_number)
    updates = ready.steps_per_epoch // accumulation * schedule.epochs
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
        f"batch       {schedule.batch_size} = {ready.batch_size // replicas} per replica x {replicas} "
        f"{'replica' if replicas == 1 else 'replicas'} x {accumulation} "
        f"{'micro-batch' if accumulation == 1 else 'micro-batches'}",
        f"steps       {updates // schedule.epochs:,} per epoch x {schedule.epochs} epochs = {updates:,} updates",
        "schedule",
        *_phases(ready),
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
    parts += [f"mixup {augment.mixup_alpha:g} per {augment.mixup_per}"] if augment.mixup_alpha else []
    return ", ".join(parts)


def _optimizer(section):
    nesterov = "Nesterov " if section.nesterov else ""
    parts = [f"SGD, {nesterov}momentum {section.momentum:g}, weight decay {section.weight_decay:g} (coupled)"]
    parts += [f"AGC {section.agc_clip_factor:g}"] if section.agc_clip_factor else []
    parts += [f"weight average {section.ema_decay:g}"] if section.ema_decay else []
    return ", ".join(parts)


def _decayed(ready):
    variables = ready.network.trainable_variables
    spared = [v for v in variables if ready.recipe.optimizer.no_bias_decay and is_exempt(v)]
    names = sorted({v.name for v in spared})
    yield f"  decayed   {len(variables) - len(spared)} tensors"
    yield f"  spared    {len(spared)} tensors" + (f" ({', '.join(names)})" if names else "")


def _phases(ready):
    """One line per warmup, per step of the decay, or for the whole cosine: epochs and learning rates."""
    schedule = ready.recipe.schedule
    steps = ready.steps_per_epoch // ready.recipe.optimizer.accumulation_steps
    peak = schedules.linear_scaling(schedule.batch_size, schedule.base_learning_rate, schedule.base_batch_size)
    edges = {0.0, float(schedule.epochs), min(schedule.warmup_epochs, schedule.epochs)}
    if schedule.decay == "step":
        edges |= {float(m) for m in schedule.milestones if m < schedule.epochs}
    edges = sorted(edges)

    def rate(step):
        return schedules.learning_rate(step, steps, peak, schedule.warmup_epochs, decay_of(schedule))

    for start, end in zip(edges, edges[1:], strict=False):
        first, last = rate(round(start * steps)), rate(round(end * steps) - 1)
        what = "warmup" if end <= schedule.warmup_epochs else schedule.decay
        change = f"{first:.6g}" if abs(first - last) < 1e-12 else f"{first:.6g} -> {last:.6g}"
        yield f"  epochs {start:g} to {end:g}: learning rate {change} ({what})"
