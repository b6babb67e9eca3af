"""evaluate a run or a weight file on labelled images"""

import json
import pathlib

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    arguments.add_recipe_arguments(parser, "run folder or recipe")
    parser.add_argument("--weights", help="use these weights: a file, a run folder, a name such as "
                                          "timm/resnet50d.ra2_in1k, or raw for the unaveraged weights of the run "
                                          "(default: the run's best)")
    parser.add_argument("--views", choices=("one", "flip", "flip_translate"), default="one",
                        help="average the outputs of one, two (mirrored) or six (mirrored and moved by a pixel) "
                             "views of each image")
    parser.add_argument("--class-map", metavar="FILE",
                        help='map class folders of other names with this JSON: {"folder name": "class of the run"}')
    parser.add_argument("--format", choices=("text", "json"), default="text", help="set the output format")


def run(args):
    from keras_tricks import evaluation
    from keras_tricks.utils.class_names import read_mapping

    recipe, weights, trained_on = _recipe_and_weights(args)
    published = evaluation.with_published_preprocessing(recipe, weights)
    recipe = arguments.recipe_from(args, published)
    evaluation.log_preprocessing(recipe, published, weights, "recipe")
    mapping = read_mapping(args.class_map) if args.class_map else None
    found = evaluation.measure(recipe, weights, trained_on, mapping, views=args.views)
    if args.format == "json":
        print(json.dumps(facts(found, weights, args.views), indent=2))
    else:
        print(*describe(found, weights, args.views), sep="\n")


def _recipe_and_weights(args):
    """(recipe, file or name of the weights, `data` section they were trained on or `None`)."""
    from keras_tricks.recipe import load_recipe
    from keras_tricks.run.folder import recipe_of
    from keras_tricks.run.weights import WHICH, resolve_weights, run_of_weights, run_weights
    from keras_tricks.weights import pretrained

    folder, weights = pathlib.Path(args.recipe), args.weights
    if folder.is_dir():
        recipe = recipe_of(folder)
        is_own = weights is None or weights in WHICH
        weights = run_weights(folder, weights or "best").path if is_own else resolve_weights(weights)
    elif weights is None:
        raise UserError("evaluate needs weights: name a run folder, or give --weights FILE.")
    else:
        recipe = load_recipe(args.recipe)
        weights = resolve_weights(pretrained.best(recipe.model.name) if weights == "pretrained" else weights)
    trained = run_of_weights(weights)
    return recipe, weights, recipe_of(trained).data if trained else None


def facts(found, weights, views="one"):
    """An `Evaluation` as plain values, for JSON: accuracies in [0, 1], intervals of 95 % (Wilson)."""
    from keras_tricks.analysis import wilson_interval

    share = "top1" if found.map is None else "recall"
    classes = [{"name": name, "images": int(images), "correct": int(correct),
                share: float(correct / images) if images else None, "interval": wilson_interval(correct, images)}
               for name, images, correct in zip(found.class_names, found.images, found.correct, strict=True)]
    further = {"top5": found.top5} if found.map is None else {"map": found.map, "f1": found.f1}
    return {"weights": str(weights), "views": views, "images": found.n, "broken": found.broken,
            "loss": found.loss, "top1": found.top1, "interval": found.interval, **further, "classes": classes}


def describe(found, weights, views="one"):
    """The lines that `evaluate` prints.

    Args:
        found: `Evaluation`.
        weights: file or name of the weights.
        views: as for `kt.evaluate`.
    """
    from keras_tricks.run import weights as run_weights

    low, high = found.interval
    yield f"{'weights':<12}{run_weights.describe(weights) or weights}"
    yield f"{'images':<12}{found.n:,}" + (f", and {found.broken:,} that cannot be read" if found.broken else "")
    if views != "one":
        yield f"{'views':<12}{views}"
    yield f"{'loss':<12}{found.loss:.4f}"
    yield f"{'top1':<12}{100 * found.top1:.2f} %, 95 % confidence interval {100 * low:.2f} to {100 * high:.2f} %"
    if found.map is None:
        yield f"{'top5':<12}{100 * found.top5:.2f} %"
    else:
        yield f"{'map':<12}{100 * found.map:.2f} %"
        yield f"{'f1':<12}{100 * found.f1:.2f} %, mean of the classes, above a probability of 0.5"
    for place, (name, share, images) in enumerate(found.worst()):
        yield f"{'' if place else 'worst':<12}{100 * share:.2f} % of {images:,} images of {name}"
