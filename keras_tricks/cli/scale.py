"""compare the costs and effects of width, depth and resolution"""

import math

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    parser.add_argument("--family", default="resnet_rs", help="scale this family: resnet_rs (default) or resnet_d")
    parser.add_argument("--widths", type=arguments.number(above=0), nargs="+", metavar="W",
                        help="use these widths (default: 0.25 0.5 1 1.5 2)")
    parser.add_argument("--depths", type=arguments.count(1), nargs="+", metavar="D",
                        help="use these depths (default: 26 50 101 200 300 350 400)")
    parser.add_argument("--resolutions", type=arguments.count(1), nargs="+", metavar="PX",
                        help="use these resolutions (default: 128 160 224 320 448)")
    parser.add_argument("--budget", action="append", default=[], metavar="KIND=AMOUNT",
                        help="list networks within macs=4.5G, latency=20ms (inference) or memory=8GiB (training step)")
    parser.add_argument("--measure", type=arguments.count(0), default=0, metavar="N",
                        help="time N of the networks on this machine and fit the others (default: 0)")
    parser.add_argument("--up-to", default="20G", metavar="MACS",
                        help="time no network with more multiply-adds (default: 20G)")
    parser.add_argument("--deepest", type=arguments.count(1), metavar="D",
                        help="time no network that is deeper")
    parser.add_argument("--batch-size", type=arguments.count(1), default=8,
                        help="use this batch size for memory and times (default: 8)")
    parser.add_argument("--steps", type=arguments.count(1), default=5,
                        help="take the median of this many steps (default: 5)")
    parser.add_argument("--train", action="append", default=[], metavar="epochs=K",
                        help="train every network of the grid for K epochs; may be repeated")
    parser.add_argument("--output", default="scaling", metavar="FOLDER",
                        help="write scaling.csv, scaling.png and the runs to this folder (default: scaling)")
    arguments.add_recipe_arguments(parser, "recipe of --train (default: resnet_rs/cifar10_scaling)", "--recipe",
                                   default="resnet_rs/cifar10_scaling")


def run(args):
    from keras_tricks.studies import scaling
    from keras_tricks.studies.scaling import grid
    from keras_tricks.utils.atomic_files import writable_folder
    from keras_tricks.utils.memory import free_memory

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
