"""Arguments that several commands share, and the recipe that they define."""

import argparse
import math

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def add_recipe_arguments(parser, what="recipe name, .py or .json file", name="recipe", **kwargs):
    """Adds the recipe and the arguments that change it."""
    parser.add_argument(name, help=what, **kwargs)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="assignments",
                        help="change one value of the recipe; may be repeated")
    parser.add_argument("--data-dir", help="read the data from this folder (data.data_dir)")
    parser.add_argument("--minival", type=number(0, 1), nargs="?", const=0.02, metavar="SHARE",
                        help="validate on this share of the training images instead (data.minival; no value: 0.02)")
    parser.add_argument("--strategy", choices=STRATEGIES, help="select the devices of the run (train.strategy)")
    parser.add_argument("--logical-devices", type=count(2, 64), metavar="N",
                        help="divide the CPU into N virtual devices, to try --strategy mirrored")
    parser.add_argument("--precision", choices=PRECISIONS, help="set the compute precision (train.precision)")
    parser.add_argument("--seed", type=count(0, 2**32 - 1), help="set the seed of weights and data order")


def recipe_from(args, recipe=None, **changes):
    """The recipe of the command line, changed by its arguments.

    Args:
        args: namespace of a command that uses `add_recipe_arguments`.
        recipe: `Recipe` to change. Defaults to `None`: the recipe `args.recipe`.
        **changes: further changes by section, `model={"weights": path}`.
    """
    from keras_tricks.recipe import load_recipe
    from keras_tricks.run.resolve import with_pretrained

    recipe = (recipe or load_recipe(args.recipe)).override(args.assignments)
    sections = {"data": {"data_dir": args.data_dir, "minival": args.minival},
                "train": {key: getattr(args, key) for key in ("precision", "strategy", "logical_devices")}}
    for section, values in (*sections.items(), *changes.items()):
        given = {key: value for key, value in values.items() if value is not None}
        recipe = recipe.replace(**{section: given}) if given else recipe
    return with_pretrained(recipe if args.seed is None else recipe.replace(seed=args.seed))


def count(low=1, high=None):
    """The `type` of an argument that is an integer from `low` to `high` (no limit: `None`)."""
    expected = f"an integer of {low} or more" if high is None else f"an integer from {low} to {high}"

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"expected {expected}. Received: {_shown(text)}")
        return value

    return parse


def number(low=0, below=math.inf, above=None, most=math.inf):
    """The `type` of a number from `low`, or greater than `above`, that is less than `below` and at most `most`."""
    expected = f"a number of {low:g} or more" if above is None else f"a number above {above:g}"
    expected += "" if below == math.inf else f" and below {below:g}"
    expected = expected if most == math.inf else f"a number from {low:g} to {most:g}"

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value < below and value <= most) or (above is not None and value <= above):
            raise argparse.ArgumentTypeError(f"expected {expected}. Received: {_shown(text)}")
        return value

    return parse


def _shown(text):
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def size_of(path):
    """The size of a file as text, such as `"210 kB"`."""
    return f"{max(path.stat().st_size / 1000, 1):,.0f} kB"
