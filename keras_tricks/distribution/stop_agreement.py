"""The step after which all processes of a run stop, when one of them received a signal.

Variables of several processes can be read only by all of them together, so a checkpoint needs one step. A process
cannot choose it alone: the others may be ahead, or wait for it inside a step. Each has a thread that waits:

    process that received a signal    request = number of the signal
    thread of every process           holds its training after the current step, reports the last step that may end
    thread of the first process       decision = the largest report
    every process                     continues to that step
"""

import itertools
import threading

from keras_tricks.distribution.shared_texts import make_store

TIMEOUT = 30  # seconds to wait for the other processes
POLL_INTERVAL = 0.5  # seconds; a thread that waits inside the service when Python ends would abort the process
_runs = itertools.count()  # every process starts the same runs, in the same order


class StopAgreement:
    """Agrees with the other processes on the step after which all stop.

    Args:
        store: object with `set(key, text)` and `get(key, seconds)`, shared by all processes. `get` returns `None` after
            that time.
        process_index, processes: which process this is, of how many.

    Attributes:
        steps: integer, steps done by this process. The caller counts them.
        signal: number of the signal that any process received, or `None`.
        last_step: integer, the step after which all stop; `None` before the decision, and if there was none in time.
    """

    def __init__(self, store, process_index, processes):
        self.store, self.process_index, self.processes = store, process_index, processes
        self.key = f"keras_tricks/stop/{next(_runs)}"
        self.steps, self.signal, self.last_step = 0, None, None
        self.held, self.decided, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._watch, name="stop agreement", daemon=True)
        self.thread.start()

    def close(self):
        """Ends the thread. Call it when the training has ended."""
        self.closed.set()
        self.thread.join(TIMEOUT)

    def step_done(self, received=None):
        """Call it after every step, with the number of a signal that this process received, or `None`.

        Returns:
            Whether to stop now. `last_step` is `None` if the others did not answer; they then stop at other steps.
        """
        self.steps += 1
        if received is not None and not self.held.is_set():
            self.store.set(f"{self.key}/request", str(int(received)))
            self.held.wait(TIMEOUT)
        if not self.held.is_set():
            return False
        self.decided.wait(3 * TIMEOUT)
        return self.last_step is None or self.steps >= self.last_step

    def _watch(self):
        request = None
        while request is None:
            if self.closed.is_set():
                return
            request = self.store.get(f"{self.key}/request", POLL_INTERVAL)
        self.signal = int(request)
        self.held.set()
        # The training may have passed its check of `held` already: one step more can end.
        self.store.set(f"{self.key}/report/{self.process_index}", str(self.steps + 1))
        if self.process_index == 0:
            reports = [self.store.get(f"{self.key}/report/{i}", TIMEOUT) for i in range(self.processes)]
            if None not in reports:
                self.store.set(f"{self.key}/decision", str(max(map(int, reports))))
        decision = self.store.get(f"{self.key}/decision", TIMEOUT + 5)
        self.last_step = None if decision is None else int(decision)
        self.decided.set()


def make_stop_agreement(process_index, processes):
    """A `StopAgreement` of the processes of this run; `None` if there is one."""
    if processes == 1:
        return None
    return StopAgreement(make_store(), process_index, processes)
