"""Stops a run on a signal: finishes the step, writes a checkpoint and prints one line on how to resume.

    SIGTERM           exit code 143; sent by `kill`, Kubernetes and Slurm
    SIGHUP            exit code 129; sent when a terminal or an SSH connection closes
    SIGUSR1, SIGUSR2  exit codes 138, 140; sent ahead of time by Slurm (`--signal=USR1@120`), Grid Engine and LSF
    SIGXCPU           exit code 152; sent at a soft limit of processor time
    SIGINT            exit code 130; Ctrl-C. A second one ends the process at once; files are complete at any moment

A signal that the process was started to ignore stays ignored: SIGHUP under `nohup`, SIGINT in a script's background.
"""

import contextlib
import logging
import os
import signal
import threading
from typing import Any

import keras

from keras_tricks.callbacks.checkpoint import Checkpoint
from keras_tricks.distribution.stop_agreement import TIMEOUT, StopAgreement
from keras_tricks.utils import exit_monitor
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs

log = logging.getLogger("absl")

NAMES = ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Interrupted(UserError):
    """A signal stopped the run. `exit_code` is the code that a shell expects for that signal."""

    def __init__(self, number: int, where: Any) -> None:
        self.number, self.exit_code = number, 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name} {where}")


class Interruption(keras.callbacks.Callback):
    """Ends `fit` after the first complete update that follows a signal, and saves a checkpoint.

    Args:
        checkpoint: `Checkpoint` of the run; it must precede this callback in the list given to `fit`.
        save: bool, whether to write a checkpoint. Defaults to `True`.
        agreement: `distribution.StopAgreement` of several processes, which all stop after the same step when one of
            them receives a signal. Defaults to `None`: one process.

    Use it as a context in the main thread. It catches signals inside the context; in other threads it does nothing.

    Raises:
        Interrupted: in `fit`.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, checkpoint: Checkpoint, save: bool = True, agreement: StopAgreement | None = None) -> None:
        super().__init__()
        self.checkpoint, self.save, self.agreement = checkpoint, save, agreement
        self.number, self.before = None, {}
        self.stopping = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._receive) for number in SIGNALS
                           if signal.getsignal(number) != signal.SIG_IGN}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.agreement is not None:
            self.agreement.close()

    def _receive(self, number, _):
        if self.number is not None and number == signal.SIGINT:
            _write(b"\nkeras-tricks: ended at once; the last checkpoint is complete\n")
            exit_monitor.stop()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
        then = ", writing a checkpoint" if self.save else ""
        _write(f"\n{signal.Signals(number).name}: finishing this step{then}\n".encode())

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.stopping = self._is_last_step()
        if not self.stopping:
            return
        position, plan = self.checkpoint.position, self.checkpoint.plan
        if plan is not None and position.images:
            phase = plan.phase(position.epoch)
            if position.images % phase.batch_size:
                return  # an unfinished update
            if position.images < phase.steps_per_epoch * phase.step_size:
                self._stop(save=True)

    def _is_last_step(self):
        if self.agreement is None:
            return self.number is not None
        if not self.agreement.step_done(self.number):
            return False
        self.number = self.agreement.signal if self.number is None else self.number
        if self.agreement.last_step is None and self.save:
            log.warning("the other workers did not agree on a step within %d s: no checkpoint is written now", TIMEOUT)
            self.save = False
        return True

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.stopping or (self.agreement is None and self.number is not None):
            self._stop(save=False)  # the checkpoint of this epoch is being written

    def _stop(self, save):
        if save and self.save:
            self.checkpoint.save()
        self.checkpoint.flush()
        raise Interrupted(self.number, self.checkpoint.position)


def _write(text):
    with contextlib.suppress(OSError):  # the terminal may have been closed
        os.write(2, text)
