"""Arguments that several commands share, and the recipe they describe."""

from keras_tricks.utils.errors import UserError

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def add_recipe_arguments(parser, what="recipe name, .py or .json file", name="recipe", **kwargs):
    """Adds the recipe and everything that changes it."""
    parser.add_argument(name, help=what, **kwargs)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="assignments",
                        help="change one value of the recipe; may be repeated")
    parser.add_argument("--data-dir", help="folder of the data (data.data_dir)")
    parser.add_argument("--minival", type=float, nargs="?", const=0.02, metavar="SHARE",
                        help="hold out this share of the training images and validate on it (data.minival; 0.02)")
    parser.add_argument("--strategy", choices=STRATEGIES, help="devices of the run (train.strategy)")
    parser.add_argument("--logical-devices", type=int, metavar="N",
                        help="slices of the CPU, to try --strategy mirrored")
    parser.add_argument("--precision", choices=PRECISIONS, help="compute precision (train.precision)")
    parser.add_argument("--seed", type=int, help="seed of weights and data order")


def recipe_from(args, recipe=None, **changes):
    """The recipe named on the command line, changed by its arguments.

    Args:
        args: namespace of a command that uses `add_recipe_arguments`.
        recipe: `Recipe` to change. Defaults to `None`: the one named `args.recipe`.
        **changes: further changes by section, `model={"weights": path}`.
    """
    from keras_tricks.recipe import load_recipe

    recipe = (recipe or load_recipe(args.recipe)).override(args.assignments)
    sections = {"data": {"data_dir": args.data_dir, "minival": args.minival},
                "train": {key: getattr(args, key) for key in ("precision", "strategy", "logical_devices")}}
    for section, values in (*sections.items(), *changes.items()):
        given = {key: value for key, value in values.items() if value is not None}
        recipe = recipe.replace(**{section: given}) if given else recipe
    return recipe if args.seed is None else recipe.replace(seed=args.seed)


def check_positive(args, *names):
    """Raises `UserError` unless these arguments are 1 or more."""
    for name in names:
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more. Received: {getattr(args, name)}")
