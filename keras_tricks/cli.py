"""The program `keras-tricks`: train, plan, compare, evaluate, predict, export, benchmark, inspect, scale, ablate,
list, data, doctor.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

import sys

from absl import app, logging
from absl.flags import argparse_flags

from keras_tricks import commands
from keras_tricks.errors import UserError, is_ours

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def main(argv=None):
    """Entry point of the console script."""
    app.run(_run, argv=argv, flags_parser=parse)


def parse(argv):
    """Command line -> namespace with the function to call in `.run`."""
    return _parser().parse_args(argv[1:])


def _run(args):
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_PlainFormatter())
    logging.get_absl_handler().addFilter(is_ours)
    try:
        return args.run(args)
    except UserError as error:
        print(f"keras-tricks: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("keras-tricks: interrupted", file=sys.stderr)
        sys.exit(130)


class _PlainFormatter(logging.PythonFormatter):
    """Messages without absl's prefix; warnings and errors say so."""

    def format(self, record):
        message = record.getMessage()
        return message if record.levelname == "INFO" else f"{record.levelname.lower()}: {message}"


def _parser():
    parser = argparse_flags.ArgumentParser(
        prog="keras-tricks", description="Published image-classification recipes, trained in Keras.")
    known = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    command = known.add_parser("train", help="train a recipe")
    _recipe_arguments(command, "recipe name, .py or .json file (with --resume RUN: its own)", nargs="?")
    command.add_argument("--output", help="run folder (default: runs/<recipe>)")
    command.add_argument("--resume", nargs="?", const="auto", default=False, metavar="RUN",
                         help="continue from the newest checkpoint of a run folder (auto: the one in --output, if any)")
    command.add_argument("--changes", choices=("run", "new"),
                         help="which recipe wins when a run is continued with another one")
    command.add_argument("--dry-run", action="store_true", help="build everything, do one step")
    command.add_argument("--weights", help="start from these: a file, or a name such as timm/resnet50d.ra2_in1k")
    command.add_argument("--freeze", metavar="PART,PART", help="parts that are not trained, such as stem,stage1")
    command.add_argument("--data-service", metavar="ADDRESS",
                         help="grpc://host:port of `keras-tricks data serve`, which makes the batches (data.service)")
    command.set_defaults(run=commands.train)

    command = known.add_parser("plan", help="show what would run, without training")
    _recipe_arguments(command)
    command.add_argument("--plot", metavar="FILE", help="draw batch size, learning rate and noise scale as a PNG")
    command.set_defaults(run=commands.plan)

    command = known.add_parser("compare", help="curves of several runs against epochs and updates")
    command.add_argument("runs", nargs="+", help="run folders; runs of one recipe are averaged")
    command.add_argument("--output", default="compare.png", metavar="FILE", help="PNG (default: compare.png)")
    command.set_defaults(run=commands.compare)

    command = known.add_parser("evaluate", help="measure a run or a weight file on the validation split")
    _recipe_arguments(command, "run folder or recipe")
    command.add_argument("--weights", help="file, or a name such as timm/resnet50d.ra2_in1k (default: the run's best)")
    command.set_defaults(run=commands.evaluate)

    command = known.add_parser("predict", help="labels and probabilities of image files")
    command.add_argument("what", help="folder of a finished run, or model name")
    command.add_argument("images", nargs="+", help="image files")
    command.add_argument("--weights", help="of a model: file, or a name such as timm/resnet50d.ra2_in1k")
    command.add_argument("--set", action="append", default=[], metavar="data.KEY=VALUE", dest="assignments",
                         help="change the preprocessing of the weights; may be repeated")
    command.add_argument("--top", type=int, default=5, help="labels shown for each image (default 5)")
    command.set_defaults(run=commands.predict)

    command = known.add_parser("export", help="write a run, or a model with published weights, for others to read")
    command.add_argument("what", help="run folder, or model name")
    command.add_argument("--format", default="keras,saved_model", metavar="FORM,FORM",
                         help="keras, saved_model, feature_vector, onnx, litert, litert_int8 (default: the first two)")
    command.add_argument("--weights", help="file or name (default: the run's best checkpoint)")
    command.add_argument("--output", metavar="FOLDER", help="default: export/ in the run folder")
    command.add_argument("--fold", action="store_true", help="fold what only training needs into plain convolutions")
    command.add_argument("--dtype", choices=PRECISIONS, default="float32", help="precision inside (default float32)")
    command.add_argument("--images", metavar="FOLDER",
                         help="images from which litert_int8 learns its ranges (default: training images of the run)")
    command.add_argument("--layout", choices=("huggingface", "kaggle"), help="a folder ready to be pushed there")
    command.add_argument("--license", default="", help="licence of the weights, such as apache-2.0")
    command.add_argument("--owner", default="", help="account, for --layout kaggle")
    command.add_argument("--overwrite", action="store_true", help="write over what is there")
    command.set_defaults(run=commands.export)

    command = known.add_parser("benchmark", help="images per second of each stage of a recipe's input pipeline")
    _recipe_arguments(command)
    command.add_argument("--data", action="store_true", required=True, help="measure the input pipeline")
    command.add_argument("--batches", type=int, default=5, metavar="N", help="batches in each of 3 passes (default 5)")
    command.set_defaults(run=commands.benchmark)

    command = known.add_parser("inspect", help="how a signal travels through fresh networks, block by block")
    command.add_argument("models", nargs="+", metavar="MODEL", help="model name, or .keras file")
    command.add_argument("--open", action="store_true", help="with the gammas and gains that start at 0 set to 1")
    command.add_argument("--image-size", type=int, help="pixels (default: the model's own)")
    command.add_argument("--batch-size", type=int, default=8, help="random images (default 8)")
    command.add_argument("--plot", metavar="FILE", help="draw all models as a PNG")
    command.set_defaults(run=commands.inspect)

    command = known.add_parser("scale", help="what width, depth and resolution cost, and which of them pays")
    command.add_argument("--family", default="resnet_rs", help="resnet_rs (default) or resnet_d")
    command.add_argument("--widths", type=float, nargs="+", metavar="W", help="default: 0.25 0.5 1 1.5 2")
    command.add_argument("--depths", type=int, nargs="+", metavar="D", help="default: 26 50 101 200 300 350 400")
    command.add_argument("--resolutions", type=int, nargs="+", metavar="PX", help="default: 128 160 224 320 448")
    command.add_argument("--budget", action="append", default=[], metavar="KIND=AMOUNT",
                         help="macs=4.5G, latency=20ms (inference of an image) or memory=8GiB (training step)")
    command.add_argument("--measure", type=int, default=0, metavar="N",
                         help="time N of the networks on this machine and fit the others (default 0)")
    command.add_argument("--up-to", default="20G", metavar="MACS",
                         help="multiply-adds of the largest network that is timed (default 20G)")
    command.add_argument("--deepest", type=int, metavar="D", help="depth of the deepest network that is timed")
    command.add_argument("--batch-size", type=int, default=8, help="of memory and times (default 8)")
    command.add_argument("--steps", type=int, default=5, help="a measured time is the median of so many (default 5)")
    command.add_argument("--train", action="append", default=[], metavar="epochs=K",
                         help="train every network of the grid for K epochs; may be repeated")
    command.add_argument("--output", default="scaling", metavar="FOLDER", help="scaling.csv, scaling.png, runs")
    _recipe_arguments(command, "recipe of --train (default: resnet_rs/cifar10_scaling)", "--recipe",
                      default="resnet_rs/cifar10_scaling")  # fmt: skip
    command.set_defaults(run=commands.scale)

    command = known.add_parser("ablate", help="what each trick buys: a table of recipes that differ by one")
    _recipe_arguments(command, "recipe name, .py or .json file (with --chain: the paper's)", nargs="?")
    command.add_argument("--add", action="append", default=[], metavar="TRICK",
                         help='next row of a chain: a trick, "NAME: section.key=value", or "mixup -distillation"')
    command.add_argument("--remove", action="append", default=[], metavar="TRICK", help="leave this one out")
    command.add_argument("--chain", metavar="NAME", help="rows of a paper, such as bag_of_tricks_table_4")
    command.add_argument("--let", action="append", default=[], metavar="TRICK: SECTION.KEY=VALUE",
                         help="what a trick sets here (default: as `list tricks` says)")
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each row (default 3)")
    command.add_argument("--output", default="ablation", metavar="FOLDER",
                         help="ablation.csv, .md, .png and runs; the same command goes on where it was stopped")
    command.add_argument("--dry-run", action="store_true", help="show the rows, train nothing")
    command.set_defaults(run=commands.ablate)

    command = known.add_parser("list", help="list models, tricks or recipes")
    command.add_argument("what", nargs="?", choices=("models", "tricks", "recipes", "all"), default="all")
    command.add_argument("filter", nargs="?", default="*", help='pattern such as "resnet50*"')
    command.add_argument("--cost", action="store_true", help="models with parameters and multiply-adds (builds them)")
    command.set_defaults(run=commands.list_)

    command = known.add_parser("data", help="look at data, pack them, or let other machines prepare them")
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="count examples and classes, decode every image")
    check.add_argument("source", help="digits, image_folder, tfrecord or tfds:<name>")
    check.add_argument("--data-dir", help="folder of the images or of TFDS")
    check.set_defaults(run=commands.data_check)
    pack = actions.add_parser("pack", help="write a source as TFRecord shards, read faster than many files")
    pack.add_argument("source", help="image_folder, tfds:<name> or digits")
    pack.add_argument("--data-dir", help="folder of the images or of TFDS")
    pack.add_argument("--output", required=True, help="new folder; train from it with data.source=tfrecord")
    pack.add_argument("--shard-mib", type=int, default=128, help="size of a shard in MiB (default 128)")
    pack.set_defaults(run=commands.data_pack)
    serve = actions.add_parser("serve", help="make the batches of train --data-service (private networks only)")
    serve.add_argument("--port", type=int, help="port (default: 5050 for a dispatcher, any for a worker; 0: any)")
    serve.add_argument("--dispatcher", metavar="ADDRESS",
                       help="join this one as a worker (default: start a dispatcher and a worker)")
    serve.add_argument("--host", help="name or address at which others reach this machine (default: found)")
    serve.set_defaults(run=commands.data_serve)

    command = known.add_parser("doctor", help="versions, devices and one matrix product on each")
    command.set_defaults(run=commands.doctor)
    return parser


def _recipe_arguments(command, what="recipe name, .py or .json file", name="recipe", **kwargs):
    command.add_argument(name, help=what, **kwargs)
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="assignments",
                         help="change one value of the recipe; may be repeated")
    command.add_argument("--data-dir", help="folder of the data (data.data_dir)")
    command.add_argument("--minival", type=float, nargs="?", const=0.02, metavar="SHARE",
                         help="hold out this share of the training images and validate on it (data.minival; 0.02)")
    command.add_argument("--strategy", choices=("auto", "one", "mirrored", "multi_worker", "tpu"),
                         help="devices of the run (train.strategy)")
    command.add_argument("--logical-devices", type=int, help="slices of the CPU, to try --strategy mirrored")
    command.add_argument("--precision", choices=PRECISIONS, help="compute precision (train.precision)")
    command.add_argument("--seed", type=int, help="seed of weights and data order")
