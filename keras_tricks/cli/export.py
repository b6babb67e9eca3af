"""export a run, or a model with published weights"""

import contextlib
import dataclasses
import functools
import json
import pathlib

from absl import logging

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError

EXAMPLES = 100  # images that calibrate an 8-bit model
UNFINISHED = ".unfinished.json"  # in an output folder
OPTIONS = ("images", "fold", "dtype", "overwrite", "layout", "license", "owner", "verify")


def add_arguments(parser):
    parser.add_argument("what", help="run folder, or model name")
    parser.add_argument("--format", default="keras,saved_model", metavar="FORM,FORM",
                        help="write keras, saved_model, feature_vector, onnx, litert, litert_int8 (default: first two)")
    parser.add_argument("--weights", help="use these weights: a file, a run folder, a name, or raw for the "
                                          "unaveraged weights of the run (default: the run's best)")
    parser.add_argument("--output", metavar="FOLDER", help="write to this folder (default: export/ in the run folder)")
    parser.add_argument("--fold", action="store_true", help="fold layers for training only into plain convolutions")
    parser.add_argument("--dtype", choices=arguments.PRECISIONS, default="float32",
                        help="compute in this precision (default: float32)")
    parser.add_argument("--images", metavar="FOLDER",
                        help="calibrate litert_int8 on these images (default: training images of the run)")
    parser.add_argument("--layout", choices=("huggingface", "kaggle"), help="write a folder in the layout of this hub")
    parser.add_argument("--license", default="", help="declare the licence of the weights, such as apache-2.0")
    parser.add_argument("--owner", default="", help="set the account, for --layout kaggle")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--verify", action="store_true",
                        help="open each form in a separate process, and compare its outputs with the model's")


def run(args):
    formats = tuple(form.strip() for form in args.format.split(","))
    options = ExportOptions(formats, **{key: getattr(args, key) for key in OPTIONS})
    export = export_run if pathlib.Path(args.what).is_dir() else export_model
    for form, path in export(args.what, options, args.output, args.weights).items():
        print(f"{form:<16}{path}")


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How an export is written.

    Attributes:
        formats: see `keras_tricks.export.export`.
        images: folder of images from which `"litert_int8"` learns its ranges. Defaults to training images of the run.
        fold: bool, fold what only training needs into plain convolutions.
        dtype: precision policy the exported model computes in. Defaults to `"float32"`.
        overwrite: bool, write over forms that are there.
        layout: `"huggingface"` or `"kaggle"`: a folder in their layout, see `keras_tricks/export/hub_layouts.py`.
        license: of the weights, such as `"apache-2.0"`. Defaults to the licence that they state.
        owner: account on Kaggle.
        verify: bool, open each form in a separate process, see `keras_tricks.export.verify`.
    """

    formats: tuple
    images: str | None = None
    fold: bool = False
    dtype: str = "float32"
    overwrite: bool = False
    layout: str | None = None
    license: str = ""
    owner: str = ""
    verify: bool = False

    def __post_init__(self):
        from keras_tricks import export

        export.check_packages(self.formats)
        if self.fold and self.dtype != "float32":
            raise UserError(f"--fold writes float32. Received: --dtype {self.dtype}")


def export_run(folder, options, output=None, weights=None):
    """Exports a run: its best checkpoint, whatever precision it was trained in.

    Args:
        folder: run folder.
        options: `ExportOptions`.
        output: folder. Defaults to `<run>/export`.
        weights: `"raw"` for the unaveraged weights, or a file or name. Defaults to the best weights of the run.

    Returns:
        {format: path}.

    Raises:
        UserError: no finished run, a form that is there already, a package that is missing.
    """
    from keras_tricks import evaluation, export, training
    from keras_tricks.export.model_card import Exported
    from keras_tricks.run.folder import recipe_of
    from keras_tricks.run.weights import WHICH, describe, resolve_weights, run_of_weights, run_weights
    from keras_tricks.utils.summary import read_summary
    from keras_tricks.weights import find, load

    folder = pathlib.Path(folder)
    recipe = recipe_of(folder)
    is_own = weights is None or weights in WHICH
    path = run_weights(folder, weights or "best").path if is_own else resolve_weights(weights)
    names = find(path).class_names or evaluation.class_names_of_run(folder, recipe)
    with output_folder(output or folder / "export", options) as output:
        with export.precision(options.dtype):
            network = training.build_network(recipe, len(names), initial=False)
        load(network, path)
        examples = _examples(options.images, recipe) if "litert_int8" in options.formats else None
        trained_in = run_of_weights(path)
        what = Exported(recipe.model.name, network, recipe.data, list(names), path, recipe,
                        read_summary(trained_in) if trained_in else (), describe(path))
        return write_export(what, options, output, examples)


def export_model(name, options, output, weights):
    """Exports a model of the zoo with published weights; arguments as for `export_run`."""
    from keras_tricks import evaluation
    from keras_tricks.export.model_card import Exported
    from keras_tricks.run.folder import is_run
    from keras_tricks.weights import pretrained

    if weights is None or output is None:
        raise UserError(f"To export {name}, give --weights and --output; or name the folder of a run.")
    if "litert_int8" in options.formats and options.images is None:
        raise UserError("`litert_int8` learns its ranges from images: give --images FOLDER, or export a run.")
    if is_run(weights):
        evaluation.check_model_of_run(name, weights)
        return export_run(weights, options, output)
    weights = pretrained.best(name) if weights == "pretrained" else weights
    recipe = evaluation.recipe_for_pretrained(name, weights)
    with output_folder(output, options) as output:
        network, names = evaluation.pretrained_network(recipe, weights, options.dtype)
        examples = _examples(options.images, recipe) if options.images else None
        return write_export(Exported(name, network, recipe.data, names, weights), options, output, examples)


def write_export(what, options, output, examples):
    """Writes the forms, the card and what a hub needs beside them. Returns {format: path}."""
    from keras_tricks import export
    from keras_tricks.data import evaluation_image
    from keras_tricks.export import hub_layouts
    from keras_tricks.export.model_card import model_card
    from keras_tricks.utils.atomic_files import write_text
    from keras_tricks.weights import find

    network = export.fold(what.network) if options.fold else what.network
    model = export.deployable(lambda: network, network, what.data, options.dtype)
    preprocess = functools.partial(evaluation_image, data=what.data) if what.data.channels in (1, 3) else None
    written = export.export(model, output, options.formats, what.class_names, preprocess, examples)
    for outcome in export.verify(model, written) if options.verify else ():
        logging.info("%s", outcome)
    info = find(what.weights).info
    license = options.license or (info.license if info else "")
    text = model_card(what, written, license, options.dtype, options.fold, _agreement(written, model, examples))
    if options.layout == "kaggle":
        return hub_layouts.kaggle(output, what, written, text, license, options.owner)
    if options.layout == "huggingface":
        text = hub_layouts.hugging_face(output, what, text, license)
    write_text(output / "README.md", text)
    return written


@contextlib.contextmanager
def output_folder(path, options):
    """A context in which the output folder exists and no other process writes there. Yields its path.

    Raises:
        UserError: it cannot be written, another process writes there, or it holds a form already and `overwrite` is
            false.
    """
    from keras_tricks.run.lock import locked_output
    from keras_tricks.utils.atomic_files import writable_folder

    output = writable_folder(path)
    with locked_output(output), _unfinished(output, _check_free(output, options)):
        yield output


@contextlib.contextmanager
def _unfinished(output, names):
    """A context with a file that lists what is being written. It remains if the process is killed or fails."""
    from keras_tricks.utils.atomic_files import write_text

    write_text(output / UNFINISHED, json.dumps(names))
    try:
        yield
        names = ()
    finally:
        if not any((output / name).exists() for name in names):
            (output / UNFINISHED).unlink(missing_ok=True)


def _names_of_unfinished(output):
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        if (output / UNFINISHED).is_file():
            return set(json.loads((output / UNFINISHED).read_text()))
    return set()


def _check_free(output, options):
    """The names of what an export will write. Those that an unfinished one left are written again."""
    from keras_tricks import export
    from keras_tricks.export import hub_layouts
    from keras_tricks.export.model_card import is_own_card

    names, left = [export.FORMS[name] for name in options.formats], _names_of_unfinished(output)
    names += hub_layouts.FILES.get(options.layout, ())
    existing = ["README.md"] if not is_own_card(output / "README.md") else []
    existing += [name for name in names if name not in left and (output / name).exists()]
    if existing and not options.overwrite:
        raise UserError(f"{output} holds {', '.join(existing)} already: give --output another folder, or --overwrite.")
    return names


def _examples(folder, recipe):
    """Up to 100 images of a folder, else training images, as the network is shown them when it is evaluated."""
    import numpy as np

    from keras_tricks import training
    from keras_tricks.data import some_images
    from keras_tricks.data.sources.folder_scan import FORMATS, LeftOut, list_images

    if folder is not None:
        files = [image.path for image in list_images(folder, LeftOut()) if not image.reason]
        if not files:
            raise UserError(f"--images {folder} holds no images ({FORMATS}).")
        chosen = np.linspace(0, len(files) - 1, min(EXAMPLES, len(files))).astype("int64")
        return np.stack([_image(files[i], recipe.data) for i in chosen])
    return some_images(training.open_data(recipe.data).train, recipe.data, EXAMPLES)


def _image(path, data):
    from keras_tricks.data import image_of_file

    try:
        return image_of_file(path, data)
    except ValueError as error:
        raise UserError(f"{path} (--images) is not an image that can be read ({error}).") from None


def _agreement(written, model, examples):
    """How often the 8-bit model names the class that the exact one names: a sentence, or `None`."""
    if "litert_int8" not in written:
        return None
    import numpy as np

    from keras_tricks.export import lite

    exact = np.argmax(model.predict(examples, verbose=0), axis=-1)
    share = np.mean(exact == np.argmax(lite.predict(written["litert_int8"], examples), axis=-1))
    return f"{100 * share:.1f} % of {len(examples)} images, those its ranges were learned from"
