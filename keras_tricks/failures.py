"""What can end a run while it trains, in words that say what to do: bad data, a lost worker, memory, numbers."""

import contextlib
import json

from keras_tricks import analysis, callbacks
from keras_tricks.benchmark import free_memory
from keras_tricks.errors import UserError
from keras_tricks.files import is_full, replaced


class WorkerLost(UserError):
    """A run over several workers cannot go on without one of them."""


@contextlib.contextmanager
def in_words(ready, folder, checkpoint, batches):
    """A context in which what ends a training is a `UserError`. What is to be on disk is there afterwards.

    Args:
        ready: `training.Prepared`.
        folder: run folder, where it is continued from.
        checkpoint: `Checkpoint` of the run.
        batches: function `(ready, epochs, first_step)` that makes the training batches again.
    """
    import tensorflow as tf

    try:
        with of_data_in_words(ready.source, ready.service):
            yield
    except callbacks.Interrupted as error:
        error.args = (f"{error}. Continue with: keras-tricks train --resume {folder}",)
        raise
    except callbacks.NonFiniteLoss as error:
        raise callbacks.Diverged(_about_non_finite(ready, error, folder, batches)) from None
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        if is_full(error):
            raise UserError(f"The disk of {folder} is full: free some space and continue with --resume.") from None
        if isinstance(error, OSError):
            raise
        phase = max(ready.plan, key=lambda p: p.micro_batch)
        reason, fits = error.message.splitlines()[0], _that_fits(ready, phase)
        raise UserError(f"Out of memory at {phase.micro_batch} images for each replica ({reason}). The same batch in "
                        f"parts: --set train.max_batch_per_replica={fits}") from None
    finally:
        checkpoint.close()


def _that_fits(ready, phase):
    """Images for each replica whose training step should fit: half, or less where the estimate of memory says so."""
    spent, images, free = analysis.cost(ready.network), phase.micro_batch // 2, free_memory() or float("inf")
    while images > 1 and (phase.micro_batch % images or analysis.training_memory(spent, images) > 0.8 * free):
        images -= 1
    return max(images, 1)


def _about_non_finite(ready, error, folder, batches):
    """A sentence on a loss that is no number; the numbers of the batch's images go to `non_finite.json`."""
    from keras_tricks.data import batch_indices

    recipe, split = ready.recipe, ready.source.train
    try:
        images, _ = next(iter(batches(ready, range(error.epoch, error.epoch + 1), error.step)))
        where = analysis.first_non_finite(ready.network, images[:16]) or "every layer is finite on 16 of its images"
    except Exception as problem:  # the first error is the one to tell
        where = f"what it came from could not be found ({type(problem).__name__})"
    kept = ""
    if split.fetch is not None:
        indices = batch_indices(split, ready.plan, recipe.seed, error.epoch, error.step)
        with replaced(folder / "non_finite.json") as partial:
            partial.write_text(json.dumps({"epoch": error.epoch, "step": error.step, "images": indices}) + "\n")
        kept = f" The numbers of the images of that batch are in {folder / 'non_finite.json'}."
    return (f"Training stopped: {error}; {where}.{kept} Lower schedule.base_learning_rate, add schedule.warmup_epochs "
            "or optimizer.agc_clip_factor; --set train.skip_non_finite=true leaves such updates out.")


class of_data_in_words:
    """Turns errors raised inside the input pipeline into `UserError`s."""

    def __init__(self, source, service=None):
        self.source, self.service = source, service

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        import tensorflow as tf

        if not isinstance(error, tf.errors.OpError):
            return False
        if self.service is not None and self.service.error is not None:
            error = self.service.error
            if isinstance(error, UserError):
                raise error from None
        if isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)):
            reason = (error.message or type(error).__name__).splitlines()[0][:200]
            raise WorkerLost(f"another worker ended or cannot be reached ({reason}). Start all workers again with "
                             "--resume: they continue from the last checkpoint.") from None
        for split in (self.source.train, self.source.validation):
            if split.bad is not None:
                split.bad.check()
        text = error.message or str(error)
        if "is not in [0, " in text and "Gather" in text:
            raise UserError(f"A label of {self.source.name} is not one of its {self.source.num_classes} classes: "
                            f"{_line(text, 'is not in [0, ')}") from None
        if any(word in text for word in ("JPEG", "jpeg", "PNG", "image data")):
            raise UserError(f"An image of {self.source.name} cannot be decoded: {text.splitlines()[0]} "
                            "`keras-tricks data check` finds it.") from None
        return False


def _line(text, word):
    """The line of TensorFlow's message that holds `word`; the first ones only say where."""
    return next((line.strip() for line in text.splitlines() if word in line), text.splitlines()[0])
