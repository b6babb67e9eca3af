"""Settings of a recipe that belong together: a line for each pair that does not fit, shown by `plan` and in the log.

None of them is an error: each is used somewhere. An average without separate statistics (`bn_momentum=0` without
`ema_decay`) is one, see `training.py`.
"""

from keras_tricks import models
from keras_tricks.recipe import Schedule

DEFAULT_MILESTONES = Schedule().milestones


def remarks(recipe):
    """Yields the remarks on a recipe, strings of one line."""
    optimizer, schedule = recipe.optimizer, recipe.schedule
    momentum = batch_norm_momentum(recipe)
    if optimizer.ema_decay and momentum:
        yield (f"optimizer.ema_decay with model.options.bn_momentum={momentum:g}: the statistics are averaged twice. "
               "The authors of ResNet-RS refuse this and set 0; torchvision does it")
    if schedule.decay != "step" and schedule.milestones not in ((), DEFAULT_MILESTONES):
        yield (f"schedule.milestones {list(schedule.milestones)} have no effect: schedule.decay is {schedule.decay}. "
               "Set schedule.milestones=[]")
    if schedule.decay == "step" and not schedule.milestones:
        yield "schedule.decay is step and schedule.milestones is empty: the learning rate is constant"
    if recipe.augment.mixup_alpha and recipe.about.paper == "arXiv:1812.01187" and schedule.epochs == 120:
        yield "augment.mixup_alpha for 120 epochs: the rows with mixup of Bag of Tricks, table 6, train for 200"


def batch_norm_momentum(recipe):
    """The momentum of a recipe's batch normalization; `None` if its network has none, or no such option."""
    options = models.registry.defaults_of(recipe.model.name) | recipe.model.options
    return None if options.get("norm") in ("none", "skipinit") else options.get("bn_momentum")
