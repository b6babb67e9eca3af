"""What can end a run while it trains, translated into one line that says what to do: bad data, a lost worker, memory,
numbers that are not finite.
"""

import contextlib
import json

from keras_tricks import analysis, callbacks
from keras_tricks.utils.atomic_files import is_disk_full, write_text
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.memory import free_memory

IMAGES_CHECKED = 16  # of a batch whose loss is not finite
USABLE_MEMORY = 0.8  # share of the free memory that a suggested batch may take


class WorkerLost(UserError):
    """A run over several workers cannot continue without one of them."""


@contextlib.contextmanager
def translate_errors(ready, folder, checkpoint, batches):
    """A context in which everything that ends a training is a `UserError`. Pending checkpoints are written at its end.

    Args:
        ready: `training.Prepared`.
        folder: run folder, from which the run can be resumed.
        checkpoint: `Checkpoint` of the run.
        batches: function `(ready, epochs, first_step)` that makes the training batches again.
    """
    import tensorflow as tf

    try:
        with translate_data_errors(ready.source, ready.service):
            yield
    except callbacks.Interrupted as error:
        error.args = (f"{error}. Continue with: keras-tricks train --resume {folder}",)
        raise
    except callbacks.NonFiniteLoss as error:
        raise callbacks.Diverged(_describe_non_finite(ready, error, folder, batches)) from None
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        if is_disk_full(error):
            raise UserError(f"The disk of {folder} is full: free some space and continue with --resume.") from None
        if isinstance(error, OSError):
            raise
        phase = max(ready.plan, key=lambda p: p.micro_batch)
        reason, suggestion = error.message.splitlines()[0], _suggest_batch_size(ready, phase)
        raise UserError(f"Out of memory at {phase.micro_batch} images for each replica ({reason}). The same batch in "
                        f"parts: --set train.max_batch_per_replica={suggestion}") from None
    finally:
        checkpoint.close()


def _suggest_batch_size(ready, phase):
    """Images per replica whose training step should fit: half, or fewer where the estimate of memory asks for it."""
    cost, images, free = analysis.cost(ready.network), phase.micro_batch // 2, free_memory() or float("inf")
    while images > 1 and (phase.micro_batch % images
                          or analysis.training_memory(cost, images) > USABLE_MEMORY * free):
        images -= 1
    return max(images, 1)


def _describe_non_finite(ready, error, folder, batches):
    """A sentence on a loss that is not finite. The indices of the batch's images go to `non_finite.json`."""
    from keras_tricks.data import batch_indices

    recipe, split = ready.recipe, ready.source.train
    try:
        images, _ = next(iter(batches(ready, range(error.epoch, error.epoch + 1), error.step)))
        where = (analysis.first_non_finite(ready.network, images[:IMAGES_CHECKED])
                 or f"every layer is finite on {IMAGES_CHECKED} of its images")
    except Exception as problem:  # report the first error, not this one
        where = f"its origin could not be found ({type(problem).__name__})"
    saved = ""
    if split.fetch is not None:
        indices = batch_indices(split, ready.plan, recipe.seed, error.epoch, error.step)
        content = {"epoch": error.epoch, "step": error.step, "images": indices}
        write_text(folder / "non_finite.json", json.dumps(content) + "\n")
        saved = f" The indices of the images of that batch are in {folder / 'non_finite.json'}."
    return (f"Training stopped: {error}; {where}.{saved} Lower schedule.base_learning_rate, add schedule.warmup_epochs "
            "or optimizer.agc_clip_factor, or skip such updates with --set train.skip_non_finite=true.")


@contextlib.contextmanager
def translate_data_errors(source, service=None):
    """A context in which errors raised inside the input pipeline are `UserError`s."""
    import tensorflow as tf

    from keras_tricks.data import explain_error

    try:
        yield
    except tf.errors.OpError as error:
        cause = error if service is None or service.error is None else service.error
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)):
            reason = (cause.message or type(cause).__name__).splitlines()[0][:200]
            raise WorkerLost(f"another worker ended or cannot be reached ({reason}). Start all workers again with "
                             "--resume: they continue from the last checkpoint.") from None
        if explained := explain_error(cause, source):
            raise explained from None
        raise
