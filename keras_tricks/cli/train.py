"""train a recipe"""

from keras_tricks.cli import arguments


def add_arguments(parser):
    arguments.add_recipe_arguments(parser, "recipe name, .py or .json file (with --resume RUN: its own)", nargs="?")
    parser.add_argument("--output", help="write to this run folder (default: runs/<recipe>)")
    parser.add_argument("--resume", nargs="?", const="auto", default=False, metavar="RUN",
                        help="continue from the newest checkpoint of a run folder (auto: the one in --output, if any)")
    parser.add_argument("--changes", choices=("run", "new"),
                        help="choose the recipe of a run that is resumed with another one")
    parser.add_argument("--dry-run", action="store_true", help="build everything and do one step")
    parser.add_argument("--weights", help="start from these weights: a file, or a name such as timm/resnet50d.ra2_in1k")
    parser.add_argument("--freeze", metavar="PART,PART", help="freeze these parts, such as stem,stage1")
    parser.add_argument("--data-service", metavar="ADDRESS",
                        help="take the batches from `keras-tricks data serve` at grpc://host:port (data.service)")


def run(args):
    from keras_tricks import training
    from keras_tricks.run.folder import recipe_of

    recipe = None
    if args.recipe is not None or args.resume not in (False, "auto"):
        parts = args.freeze and [part.strip() for part in args.freeze.split(",")]
        recipe = arguments.recipe_from(
            args, None if args.recipe is not None else recipe_of(args.resume),
            model={"weights": args.weights, "freeze": parts}, data={"service": args.data_service})
    training.train(recipe, args.output, args.resume, args.dry_run, changes=args.changes)
