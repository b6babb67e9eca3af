"""Published image-classification results in Keras with one command, the same on any number of devices.

The data flow, which is also the order of a `Recipe`'s sections, of `training.py` and of the README:

    data       images on disk                                   encoded bytes or uint8 (h, w, 3)
      |  kt.data        decode, crop, resize                    float32 (size, size, 3), 0-255
    augment    kt.data  flip, colour, RandAugment, mixing       float32 (batch, size, size, 3), normalized
      |                                                         float32 (batch, classes), soft labels
    model      kt.models, kt.layers, kt.initializers            float32 (batch, classes), logits
      |
    loss       kt.losses                                        float32 scalar
      |
    optimizer  kt.optimizers                                    one update per variable
      |
    schedule   kt.schedules, kt.callbacks                       learning rate and batch size at every update
      |
    train      kt.train, `keras-tricks train`                   runs/<name>/: summary.csv, curves.png, checkpoints
      |
    export     kt.export                                        .keras, SavedModel: pixels in, probabilities out

`kt.surgery` changes an existing model, `kt.weights` reads pretrained weights, `kt.analysis` inspects a model without
training it.

The package has two halves. In the library, `data` to `export`, each folder works alone, in your own `fit`. The program
is built on the library: `recipe.py`, `training.py`, `evaluation.py`, `run/` (one run), `report/` (its report),
`studies/` (many runs) and `cli/`. `utils/` imports no other part of the package.

Models, layers, losses, optimizers and schedules use only `keras` and `keras.ops` and run on every Keras backend. Parts
that need TensorFlow (`kt.data`, `kt.distribution`, training) are imported on first use.
"""

import contextlib
import importlib
import typing

from keras_tricks.utils import quiet

__version__ = "0.1.0"

if typing.TYPE_CHECKING:
    from keras_tricks import analysis, callbacks, data, distribution, export, initializers, layers, losses, models
    from keras_tricks import ops, optimizers, schedules, surgery, weights
    from keras_tricks.evaluation import evaluate
    from keras_tricks.recipe import Recipe, list_recipes, load_recipe
    from keras_tricks.training import train
    from keras_tricks.utils import errors

# Folders whose classes Keras may look up by name when it loads a model.
_LIBRARY = ("analysis", "callbacks", "export", "initializers", "layers", "losses", "models", "ops", "optimizers",
            "schedules", "surgery", "weights")
_LAZY = {
    "data": "keras_tricks.data",
    "distribution": "keras_tricks.distribution",
    "errors": "keras_tricks.utils.errors",
    "train": "keras_tricks.training:train",
    "evaluate": "keras_tricks.evaluation:evaluate",
    "Recipe": "keras_tricks.recipe:Recipe",
    "load_recipe": "keras_tricks.recipe:load_recipe",
    "list_recipes": "keras_tricks.recipe:list_recipes",
    **{folder: f"keras_tricks.{folder}" for folder in _LIBRARY},
}


def import_library() -> None:
    """Imports the library, which registers its classes with Keras. `import keras_tricks` calls this at once."""
    with quiet.suppress_native_stderr() if quiet.is_program() or quiet.is_child() else contextlib.nullcontext():
        for folder in _LIBRARY:
            importlib.import_module(f"keras_tricks.{folder}")


if not typing.TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module 'keras_tricks' has no attribute {name!r}")
        module, _, attribute = _LAZY[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found


def __dir__():
    return sorted([*globals(), *_LAZY])


if not quiet.is_program():  # the program parses its arguments first; see `keras_tricks.cli`
    import_library()
