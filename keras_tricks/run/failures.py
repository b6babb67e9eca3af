"""Errors that stop a run during training, translated into one line with a remedy: bad data, a lost worker, too little
memory, a full disk, non-finite numbers.
"""

import contextlib
import json

from keras_tricks import analysis, callbacks
from keras_tricks.run.own import is_handed
from keras_tricks.utils.atomic_files import is_disk_full, write_text
from keras_tricks.utils.errors import UserError, one_line
from keras_tricks.utils.memory import free_memory, is_out_of_memory

IMAGES_CHECKED = 16  # of a batch whose loss is not finite
USABLE_MEMORY = 0.8  # share of the free memory that a suggested batch may take


class WorkerLost(UserError):
    """A run over several workers cannot continue without one of them. `reason` is the error of the connection."""

    def __init__(self, reason, what=None):
        self.reason = reason
        what = what or f"Another worker ended or cannot be reached ({reason})"
        super().__init__(f"{what.rstrip('.')}. Start all workers again with --resume: they continue from the last "
                         "checkpoint.")


@contextlib.contextmanager
def translate_errors(ready, folder, checkpoint, batches):
    """A context that raises errors of training as `UserError`s. Pending checkpoints are written at its end.

    Args:
        ready: `training.Prepared`.
        folder: run folder from which the run can be resumed.
        checkpoint: `Checkpoint` of the run.
        batches: function `(ready, epochs, first_step)` that makes the training batches again.
    """
    try:
        with translate_data_errors(ready.source, ready.service, several_workers=ready.devices.processes > 1):
            yield
    except callbacks.Interrupted as error:
        error.args = (f"{error}. Continue with: {how_to_resume(ready.recipe, folder)}",)
        raise
    except callbacks.NonFiniteLoss as error:
        raise callbacks.Diverged(_describe_non_finite(ready, error, folder, batches)) from None
    except UserError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise UserError(f"The disk of {folder} is full: free some space and continue with --resume.") from None
        if not is_out_of_memory(error):
            raise
        phase = max(ready.plan, key=lambda p: p.micro_batch)
        raise UserError(f"Out of memory at {phase.micro_batch} images per replica ({one_line(error)}). Divide the "
                        f"batch with --set train.max_batch_per_replica={_suggest_batch_size(ready, phase)}") from None
    finally:
        checkpoint.close()


def how_to_resume(recipe, folder):
    """The command that continues a run, or the call if its recipe has parts that only Python can hand over."""
    needed = {"data": recipe.data.fingerprint is not None, "model": is_handed(recipe.model.name),
              "callbacks": any(map(is_handed, recipe.train.callbacks))}
    if not any(needed.values()):
        return f"keras-tricks train --resume {folder}"
    given = ", ".join(f"{name}=..." for name, is_needed in needed.items() if is_needed)
    return f"kt.train(resume={str(folder)!r}, {given})"


def _suggest_batch_size(ready, phase):
    """Images per replica whose training step should fit: half, or fewer if the memory estimate is still too high."""
    cost, images, free = analysis.cost(ready.network), phase.micro_batch // 2, free_memory() or float("inf")
    while images > 1 and (phase.micro_batch % images
                          or analysis.training_memory(cost, images) > USABLE_MEMORY * free):
        images -= 1
    return max(images, 1)


def _describe_non_finite(ready, error, folder, batches):
    """The message about a non-finite loss. Writes the indices of the images of the batch to `non_finite.json`."""
    from keras_tricks.data import batch_indices

    recipe, split = ready.recipe, ready.source.train
    try:
        images, _ = next(iter(batches(ready, range(error.epoch, error.epoch + 1), error.step)))
        where = (analysis.first_non_finite(ready.network, images[:IMAGES_CHECKED])
                 or f"every layer is finite on {IMAGES_CHECKED} of its images")
    except Exception as problem:  # the first error is reported, not this one
        where = f"its origin could not be found ({type(problem).__name__})"
    saved = ""
    if split.fetch is not None:
        indices = batch_indices(split, ready.plan, recipe.seed, error.epoch, error.step, recipe.augment.repeats,
                                recipe.data.sampling)
        content = {"epoch": error.epoch, "step": error.step, "images": indices}
        write_text(folder / "non_finite.json", json.dumps(content) + "\n")
        saved = f" The indices of the images of that batch are in {folder / 'non_finite.json'}."
    return (f"Training stopped: {error}; {where}.{saved} Lower schedule.base_learning_rate, add schedule.warmup_epochs "
            "or optimizer.agc_clip_factor, or skip such updates with --set train.skip_non_finite=true.")


@contextlib.contextmanager
def translate_data_errors(source, service=None, several_workers=False):
    """A context that raises errors of the input pipeline as `UserError`s.

    Args:
        source: `Source` that is read.
        service: data service that makes the batches, or `None`.
        several_workers: bool, whether another worker can be the cause. Defaults to `False`.
    """
    from keras_tricks.data import CONNECTION_ERRORS, PIPELINE_ERROR, explain_error

    try:
        yield
    except PIPELINE_ERROR as error:
        cause = error if service is None or service.error is None else service.error
        if isinstance(cause, UserError):
            raise cause from None
        if several_workers and isinstance(cause, CONNECTION_ERRORS):
            raise WorkerLost(one_line(cause, 200)) from None
        if explained := explain_error(cause, source):
            raise explained from None
        raise
