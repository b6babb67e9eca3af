"""measure a run or a weight file on the validation split"""

import pathlib

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    arguments.add_recipe_arguments(parser, "run folder or recipe")
    parser.add_argument("--weights", help="file, or a name such as timm/resnet50d.ra2_in1k (default: the run's best)")


def run(args):
    from keras_tricks import evaluation
    from keras_tricks.recipe import load_recipe

    folder = pathlib.Path(args.recipe)
    recipe, weights = None, args.weights
    if folder.is_dir():
        recipe, best = evaluation.load_run(folder)
        weights = weights or best
    if weights is None:
        raise UserError("evaluate needs weights: name a run folder, or give --weights FILE.")
    published = evaluation.as_published(recipe or load_recipe(args.recipe), weights)
    recipe = arguments.recipe_from(args, published)
    evaluation.log_preprocessing(recipe, published, weights, "recipe")
    for name, value in evaluation.evaluate(recipe, weights).items():
        print(f"{name:<12}{value:.4f}" if name == "loss" else f"{name:<12}{100 * value:.2f} %")
