"""measure images per second of each stage of a recipe's input pipeline"""

from keras_tricks.cli import arguments


def add_arguments(parser):
    arguments.add_recipe_arguments(parser)
    parser.add_argument("--data", action="store_true", required=True, help="measure the input pipeline")
    parser.add_argument("--batches", type=arguments.count(1), default=5, metavar="N",
                        help="read this many batches in each of 3 passes (default: 5)")


def run(args):
    from keras_tricks import training
    from keras_tricks.data import throughput
    from keras_tricks.run.failures import translate_data_errors
    from keras_tricks.utils.memory import free_memory

    recipe = arguments.recipe_from(args)
    source = training.open_data(recipe.data)
    with translate_data_errors(source):
        speeds = throughput.measure(recipe, source.train, source.num_classes, args.batches)
    print(throughput.describe(speeds, source.train.num_examples, free_memory()))
