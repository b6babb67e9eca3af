"""show what width, depth and resolution cost, and which of them pays"""

import math

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    parser.add_argument("--family", default="resnet_rs", help="resnet_rs (default) or resnet_d")
    parser.add_argument("--widths", type=float, nargs="+", metavar="W", help="default: 0.25 0.5 1 1.5 2")
    parser.add_argument("--depths", type=int, nargs="+", metavar="D", help="default: 26 50 101 200 300 350 400")
    parser.add_argument("--resolutions", type=int, nargs="+", metavar="PX", help="default: 128 160 224 320 448")
    parser.add_argument("--budget", action="append", default=[], metavar="KIND=AMOUNT",
                        help="macs=4.5G, latency=20ms (inference of an image) or memory=8GiB (training step)")
    parser.add_argument("--measure", type=int, default=0, metavar="N",
                        help="time N of the networks on this machine and fit the others (default 0)")
    parser.add_argument("--up-to", default="20G", metavar="MACS",
                        help="multiply-adds of the largest network that is timed (default 20G)")
    parser.add_argument("--deepest", type=int, metavar="D", help="depth of the deepest network that is timed")
    parser.add_argument("--batch-size", type=int, default=8, help="of memory and times (default 8)")
    parser.add_argument("--steps", type=int, default=5, help="a measured time is the median of so many (default 5)")
    parser.add_argument("--train", action="append", default=[], metavar="epochs=K",
                        help="train every network of the grid for K epochs; may be repeated")
    parser.add_argument("--output", default="scaling", metavar="FOLDER", help="scaling.csv, scaling.png, runs")
    arguments.add_recipe_arguments(parser, "recipe of --train (default: resnet_rs/cifar10_scaling)", "--recipe",
                                   default="resnet_rs/cifar10_scaling")


def run(args):
    from keras_tricks.studies import scaling
    from keras_tricks.studies.scaling import grid
    from keras_tricks.utils.atomic_files import writable_folder
    from keras_tricks.utils.memory import free_memory

    arguments.check_positive(args, "batch_size", "steps")
    budgets = [scaling.parse_budget(text) for text in args.budget]
    _, max_macs = scaling.parse_budget(f"macs={args.up_to}", "--up-to", args.up_to)
    regimes = [_epochs(text) for text in args.train]
    recipe = arguments.recipe_from(args) if regimes else None
    depths = args.depths or [d for d in grid.DEPTHS if d in scaling.depths_of(args.family)]
    rows = scaling.make_rows(args.family, args.widths or grid.WIDTHS, depths, args.resolutions or grid.RESOLUTIONS,
                             args.batch_size)
    folder = writable_folder(args.output)
    memory = 0.6 * (free_memory() or math.inf)
    errors = scaling.measure(rows, args.family, args.measure, args.batch_size, args.steps, max_macs,
                             args.deepest or math.inf, memory)
    for epochs in regimes:
        scaling.train(rows, args.family, recipe, epochs, folder)
    scaling.write_csv(rows, folder / "scaling.csv")
    scaling.draw(rows, folder / "scaling.png", f"{args.family}, batch {args.batch_size}")
    print(scaling.describe(rows, errors))
    for text in args.budget if budgets else ():
        print(*scaling.advice(rows, text), sep="\n")
    print(f"written to {folder}: scaling.csv, scaling.png")


def _epochs(text):
    key, _, count = text.partition("=")
    if key != "epochs" or not count.isdigit() or int(count) < 1:
        raise UserError(f"--train takes epochs=K with K of 1 or more. Received: {text!r}")
    return int(count)
