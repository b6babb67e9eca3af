"""Parts of a run that the package does not provide: data, a model, callbacks, by import path or given to `kt.train`."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence

import keras

from keras_tricks import callbacks, models
from keras_tricks.recipe import Recipe
from keras_tricks.run.given_data import GivenData
from keras_tricks.utils.errors import UserError, one_line
from keras_tricks.utils.import_path import load_object

# Callbacks that do what a run does itself, and what to use instead.
REPLACED = {
    keras.callbacks.BackupAndRestore: "a run keeps its own checkpoints: use train.checkpoint_minutes and --resume",
    keras.callbacks.LearningRateScheduler: "the recipe's schedule sets the learning rate: use schedule.decay and "
                                           "schedule.warmup_epochs",
    callbacks.BatchSizeScheduler: "the recipe's schedule sets batch size and learning rate: use schedule.mode",
    callbacks.WarmupLinearScaling: "the recipe's schedule sets the learning rate: use schedule.warmup_epochs",
    callbacks.StochasticWeightAveraging: "the run averages its weights itself: use optimizer.swa_epochs",
    callbacks.WeightEMA: "the run averages its weights itself: use optimizer.ema_decay",
}


@dataclasses.dataclass(frozen=True)
class Handed:
    """What a caller hands to `kt.train` beside the recipe.

    Attributes:
        model: function `(input_shape, classes, **options)` that returns a `keras.Model` with logits, or `None`.
        callbacks: sequence of `keras.callbacks.Callback`.
        data: `GivenData`, or `None`.
    """

    model: Callable[..., keras.Model] | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    data: GivenData | None = None

    @property
    def source(self):
        """The `Source` of the data, or `None`."""
        return self.data and self.data.source

    def named(self, recipe: Recipe) -> Recipe:
        """The recipe with the names of these parts: an import path where there is one, else such as `<function f>`."""
        if self.data is not None:
            recipe = recipe.replace(data=self.data.section)
        if self.model is not None:
            if not callable(self.model):
                raise UserError("kt.train(model=...) takes a function that builds a model: model=lambda input_shape, "
                                f"classes: ... Received: {type(self.model).__name__}.")
            recipe = recipe.replace(model={"name": models.own.name_of(self.model)})
        if self.callbacks:
            _check_types(self.callbacks, "kt.train(callbacks=...)")
            paths = tuple(path for path in recipe.train.callbacks if not is_handed(path))
            names = tuple(f"<callback {type(callback).__name__}>" for callback in self.callbacks)
            recipe = recipe.replace(train={"callbacks": paths + names})
        return recipe


def is_handed(name):
    """Whether a name of a recipe stands for an object that was handed to `kt.train` and has no import path."""
    return name.startswith("<")


def make_callbacks(recipe: Recipe, handed: Handed | None = None) -> list[keras.callbacks.Callback]:
    """The callbacks of a recipe's `train.callbacks`, and those handed to `kt.train`.

    Raises:
        UserError: a path that cannot be imported or returns no callback, or a callback that contradicts the recipe.
    """
    found, given = [], [] if handed is None else list(handed.callbacks)
    for path in recipe.train.callbacks:
        if not is_handed(path):
            found += _from_path(path, recipe)
        elif not given:
            raise UserError(f"`train.callbacks` has {path}, which was handed to kt.train and has no import path: pass "
                            "it to kt.train again, or set train.callbacks to a function, such as mypackage.hooks:make.")
    found += given
    for callback in found:
        _check(callback, recipe)
    return found


def follows_plateau(own_callbacks):
    """Whether one of the callbacks multiplies the learning rate of the schedule."""
    return any(isinstance(callback, keras.callbacks.ReduceLROnPlateau) for callback in own_callbacks)


def _from_path(path, recipe):
    make = load_object(path, "train.callbacks")
    if isinstance(make, keras.callbacks.Callback):
        made = make
    elif not callable(make):
        raise UserError(f"`train.callbacks`: {path} is {type(make).__name__}, not a function that returns callbacks.")
    else:
        try:
            made = make(recipe) if _takes_recipe(make) else make()
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"`train.callbacks`: {path} raised {type(error).__name__}: {one_line(error)}") from error
    made = list(made) if isinstance(made, (list, tuple)) else [made]
    _check_types(made, f"`train.callbacks`: {path}")
    return made


def _takes_recipe(make):
    """Whether a function has an argument `recipe`, or one argument without a default."""
    try:
        known = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return bool(positional) and (positional[0].name == "recipe" or positional[0].default is inspect.Parameter.empty)


def _check_types(found, where):
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"{where} must give keras.callbacks.Callback objects. Received: {type(callback).__name__}.")


def _check(callback, recipe):
    name = type(callback).__name__
    for kind, reason in REPLACED.items():
        if isinstance(callback, kind):
            raise UserError(f"`train.callbacks`: leave out {name}, because {reason}.")
    if isinstance(callback, keras.callbacks.ReduceLROnPlateau) and recipe.schedule.decay != "constant":
        raise UserError(f"`train.callbacks`: ReduceLROnPlateau reduces the learning rate that schedule.decay="
                        f"{recipe.schedule.decay} sets again at every step: set schedule.decay=constant, or leave out "
                        "ReduceLROnPlateau.")
