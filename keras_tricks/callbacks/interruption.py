"""A run that is told to stop: the step is finished, a checkpoint is written, and one line says how to go on.

    SIGTERM   exit code 143; what `kill`, Kubernetes and Slurm send
    SIGUSR1   exit code 138; what Slurm sends ahead of time on request (`--signal=USR1@120`)
    SIGINT    exit code 130; Ctrl-C. A second one ends the process at once: files are whole at any moment
"""

import logging
import os
import signal
import threading

import keras

from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))


class Interrupted(UserError):
    """Told to stop by a signal; `exit_code` is what a shell expects then."""

    def __init__(self, number, where):
        self.number, self.exit_code = number, 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name} {where}")


class Interruption(keras.callbacks.Callback):
    """Ends `fit` at the first whole update after a signal, with a checkpoint of that moment.

    Args:
        checkpoint: `Checkpoint` of the run, which stands before this one in the list given to `fit`.
        save: bool, write a checkpoint. Defaults to `True`; `False` for one of several workers, which cannot know at
            which step the others are told: the last regular checkpoint counts.

    Signals are caught while it is used as a context, in the main thread; elsewhere nothing is.

    Raises:
        Interrupted: in `fit`.
    """

    def __init__(self, checkpoint, save=True):
        super().__init__()
        self.checkpoint, self.save = checkpoint, save
        self.number, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, _):
        if self.number is not None and number == signal.SIGINT:
            os.write(2, b"\nkeras-tricks: ended at once; the last checkpoint is whole\n")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
        then = ", writing a checkpoint" if self.save else ""
        os.write(2, f"\n{signal.Signals(number).name}: finishing this step{then}\n".encode())

    def on_train_batch_end(self, batch, logs=None):
        if self.number is None:
            return
        position, plan = self.checkpoint.position, self.checkpoint.plan
        if plan is not None and position.images:
            phase = plan.phase(position.epoch)
            if position.images % phase.batch_size:
                return  # an update under way
            if position.images < phase.steps_per_epoch * phase.step_size:
                self._stop(save=True)

    def on_epoch_end(self, epoch, logs=None):
        if self.number is not None:
            self._stop(save=False)  # the checkpoint of this epoch is being written

    def _stop(self, save):
        if save and self.save:
            self.checkpoint.save()
        self.checkpoint.flush()
        raise Interrupted(self.number, self.checkpoint.position)
