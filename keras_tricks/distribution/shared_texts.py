"""Short texts that the processes of a run share, by key, and what they compare with them.

They travel through the service with which the backend joins the processes. It has no public interface: checked with
TensorFlow 2.21 and jax 0.10.2; `tests/distribution/test_shared_texts.py` fails when they change.
"""

import contextlib
import itertools
import json
import time

import keras

from keras_tricks.utils.errors import UserError, one_line
from keras_tricks.utils.timeouts import default_timeout

POLL_INTERVAL = 0.3  # seconds in one call of the service; a thread inside it cannot be interrupted
PROBE_INTERVAL = 2  # seconds between two attempts to reach processes that have not answered
ACKNOWLEDGE_TIMEOUT = 5  # seconds
_comparisons = itertools.count()  # every process makes the same comparisons, in the same order


class TensorFlowStore:
    """Texts in the coordination service of `MultiWorkerMirroredStrategy`."""

    def set(self, key, text):
        import tensorflow as tf

        with contextlib.suppress(tf.errors.AlreadyExistsError):  # two processes received a signal
            _tensorflow_context().set_config_key_value(key, text)

    def get(self, key, seconds):
        import tensorflow as tf

        try:
            return _tensorflow_context().get_config_key_value(key, int(1000 * seconds))
        except tf.errors.OpError:
            return None


class JaxStore:
    """Texts in the service that `keras.distribution.initialize` starts."""

    def set(self, key, text):
        from jax.errors import JaxRuntimeError

        with contextlib.suppress(JaxRuntimeError):  # two processes received a signal
            _jax_client().key_value_set(key, text)

    def get(self, key, seconds):
        from jax.errors import JaxRuntimeError

        try:
            return _jax_client().blocking_key_value_get(key, int(1000 * seconds))
        except JaxRuntimeError:
            return None


def _tensorflow_context():
    from tensorflow.python.eager import context

    return context.context()


def _jax_client():
    from jax._src import distributed

    return distributed.global_state.client


def make_store():
    """The store of this process, once the processes are joined."""
    return TensorFlowStore() if keras.backend.backend() == "tensorflow" else JaxStore()


class WorkersDiffer(UserError):
    """The processes of a run have different data. All of them raise it."""


class PeerFailed(UserError):
    """Another process of the run failed before the first step. The message names it and its error."""


@contextlib.contextmanager
def comparison(names, process_index, store=None, timeout=None, unreachable=None):
    """A context in which each process finds out what it must have in common with the others.

    It yields a function `check_equal(facts)`, which returns when all processes have called it with the same facts, a
    dict of str to str such as `{"number of training images": "1198"}`. An error in the context, before that call or in
    it, ends the waiting of the others at once. For a single process nothing is compared.

        process i             facts/i = JSON
        process that fails    verdict = its name and its error
        process 0             verdict = "equal", or the first difference, or who has not answered
        every process         waits for the verdict; the first one stays

    Args:
        names: names of all processes in messages.
        process_index: index of this process.
        store: where the processes share texts. Defaults to `None`, the service of the backend.
        timeout: seconds to wait for the slowest process. Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.
        unreachable: function of a list of names that returns those whose processes have ended. Defaults to `None`:
            they are not looked for.

    Raises:
        WorkersDiffer: from `check_equal`: a process has other facts, or did not answer in time.
        PeerFailed: from `check_equal`: another process failed.
    """
    if len(names) == 1:
        yield lambda facts: None
        return
    compared = _Comparison(names, process_index, store or make_store(),
                           default_timeout() if timeout is None else timeout, unreachable or (lambda among: []))
    try:
        yield compared.check_equal
    except (WorkersDiffer, PeerFailed):
        raise
    except BaseException as error:
        compared.publish_failure(error)
        raise


class _Comparison:
    """One comparison, as a process takes part in it."""

    def __init__(self, names, index, store, timeout, unreachable):
        self.names, self.index, self.store, self.timeout = names, index, store, timeout
        self.unreachable, self.key = unreachable, f"keras_tricks/facts/{next(_comparisons)}"

    def check_equal(self, facts):
        self.store.set(f"{self.key}/{self.index}", json.dumps(facts))
        if self.index == 0:
            self._decide()
        verdict = self._wait_for_verdict()
        self._acknowledge()
        if "failed" in verdict:
            raise PeerFailed(verdict["failed"])
        if "differs" in verdict:
            raise WorkersDiffer(verdict["differs"])

    def publish_failure(self, error):
        text = one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"
        self._publish(failed=f"{self.names[self.index]} failed: {text}")
        self._acknowledge()

    def _publish(self, **verdict):
        self.store.set(f"{self.key}/verdict", json.dumps(verdict))

    def _verdict(self, seconds=POLL_INTERVAL):
        text = self.store.get(f"{self.key}/verdict", seconds)
        return text and json.loads(text)

    def _decide(self):
        """Compares the facts of all processes as they come, until one differs or fails, or the time is over."""
        deadline, first = time.monotonic() + self.timeout, None
        for index, name in enumerate(self.names):
            probe = self._prober(self.names[index:])
            while (text := self.store.get(f"{self.key}/{index}", POLL_INTERVAL)) is None:
                if self._verdict(0.01):
                    return
                if time.monotonic() > deadline:
                    return self._publish(differs=f"{name} did not open its data within {self.timeout:g} s: "
                                                 "KERAS_TRICKS_TIMEOUT changes how long to wait.")
                if lost := probe():
                    return self._publish(failed=f"{', '.join(lost)} ended before the first step")
            facts = json.loads(text)
            first = facts if first is None else first
            if difference := _difference(name, facts, self.names[0], first):
                return self._publish(differs=difference)
        self._publish()

    def _wait_for_verdict(self):
        deadline, probe = time.monotonic() + self.timeout + 5, self._prober(self.names[:1])
        while (verdict := self._verdict()) is None:
            if time.monotonic() > deadline:
                return {"failed": f"{self.names[0]} did not compare the data within {self.timeout:g} s"}
            if probe():
                return {"failed": f"{self.names[0]} ended before the first step"}
        return verdict

    def _prober(self, names):
        """A function that returns which of these have ended. It looks every few seconds only."""
        last = time.monotonic()

        def probe():
            nonlocal last
            if time.monotonic() - last < PROBE_INTERVAL:
                return []
            last = time.monotonic()
            return self.unreachable([name for name in names if name != self.names[self.index]])

        return probe

    def _acknowledge(self):
        """The first process, whose end is the end of the service, waits until the others have read the verdict."""
        self.store.set(f"{self.key}/read/{self.index}", "")
        if self.index == 0:
            deadline = time.monotonic() + ACKNOWLEDGE_TIMEOUT
            for index in range(len(self.names)):
                self.store.get(f"{self.key}/read/{index}", max(deadline - time.monotonic(), 0.01))


def check_equal(facts, names, process_index, store=None, timeout=None):
    """Returns when all processes have called it with the same facts. Arguments and errors as for `comparison`."""
    with comparison(names, process_index, store, timeout) as compare:
        compare(facts)


def _difference(name, facts, other, expected):
    for key, value in expected.items():
        if facts.get(key) != value:
            return (f"{name} has other data than {other}: the {key} is {_short(facts.get(key))}, not {_short(value)}. "
                    "Give all workers the same images.")
    return None


def _short(text):
    text = str(text)
    return text if len(text) <= 100 else f"{text[:100]}..."
