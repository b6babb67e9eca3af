"""The callbacks that watch a run: log, average, checkpoints, signals, stalls, and those of the user."""

import contextlib
import dataclasses

import keras

from keras_tricks import callbacks
from keras_tricks.run.loggers import open_loggers
from keras_tricks.run.notebook import LiveDisplay
from keras_tricks.run.own import follows_plateau
from keras_tricks.run.provenance import provenance
from keras_tricks.run.start import fingerprint
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import MULTI_LABEL


@dataclasses.dataclass(frozen=True)
class Watchers:
    """The callbacks that watch a run. `callbacks` are all of them, in the order `fit` calls them."""

    run_log: callbacks.RunLog
    watchdog: callbacks.Watchdog
    checkpoint: callbacks.Checkpoint
    interruption: callbacks.Interruption
    callbacks: tuple

    def ordered(self, loggers):
        """All of them with the loggers, which come before the checkpoint: an epoch is logged before it is kept."""
        place = self.callbacks.index(self.watchdog)
        return *self.callbacks[:place], *loggers, *self.callbacks[place:]


def make_loggers(ready, folder):
    """A context with the callbacks of the recipe's trackers, in one of several processes."""
    return open_loggers(ready.recipe, folder) if ready.devices.is_chief else contextlib.nullcontext(())


def make_watchers(ready, folder, validation, clock, scheduler, batches):
    """The `Watchers` of a run.

    Args:
        ready: `training.Prepared`.
        folder: folder to which this process writes.
        validation: batches of the validation split.
        clock: `data.WaitClock` of the training batches.
        scheduler: `BatchSizeScheduler` of the run.
        batches: function of a range of epochs that returns their training batches.
    """
    recipe, section = ready.recipe, ready.recipe.train
    several = ready.devices.processes > 1  # whose clocks differ
    run_log = callbacks.RunLog(folder, ready.plan, clock, events="tensorboard" in section.loggers,
                               further=MULTI_LABEL if recipe.data.multi_label else ())
    overflows = callbacks.OverflowLog()
    ema = _average(recipe, validation, batches, several)
    own = list(ready.own_callbacks)
    tracked = [run_log, overflows, *own, *([scheduler] if follows_plateau(own) else [])]
    monitor = None
    if recipe.data.multi_label:
        monitor = "val_map" if ema is None or ema.validation_data is None else "val_ema_map"
    checkpoint = callbacks.Checkpoint(
        folder, monitor=monitor, ema=ema, plan=ready.plan, every_steps=section.checkpoint_steps,
        every_minutes=None if several else section.checkpoint_minutes,
        keep=section.keep_checkpoints, fingerprint=fingerprint(ready.source), callbacks=tracked,
        metadata=provenance(recipe, ready.devices.replicas, ready.source.class_names))
    interruption = callbacks.Interruption(checkpoint, agreement=ready.devices.stop_agreement())
    watchdog = callbacks.Watchdog(checkpoint, section.stall_minutes)
    first = [keras.callbacks.LambdaCallback(on_train_batch_end=checkpoint.complete_metrics)] if own else []
    live = [LiveDisplay(folder, recipe.name, ready.plan.epochs)] if ready.live and ready.devices.is_chief else []
    order = (*first, *([ema] if ema else []), overflows, run_log, *live, *own, watchdog, checkpoint,
             interruption)
    return Watchers(run_log, watchdog, checkpoint, interruption, order)


def _average(recipe, validation, batches, several):
    """The callback that averages the weights, or `None`."""
    section, every = recipe.optimizer, recipe.train.evaluate_every
    if section.ema_decay:
        return callbacks.WeightEMA(section.ema_decay, validation, evaluate_every=every)
    if section.swa_epochs is None:
        return None
    if several:
        raise UserError("`optimizer.swa_epochs` works in one process: the batch statistics of the average are taken "
                        "over whole batches. Several processes can have optimizer.ema_decay.")
    return callbacks.EpochAverage(section.swa_epochs, recipe.schedule.epochs,
                                  lambda epoch: batches(range(epoch, epoch + 1)), validation, every)
