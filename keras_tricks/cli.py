"""The program `keras-tricks`: train, plan, compare, evaluate, predict, export, benchmark, inspect, scale, list, data,
doctor.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

import fnmatch
import math
import pathlib
import sys

from absl import app, logging
from absl.flags import argparse_flags

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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    command = commands.add_parser("train", help="train a recipe")
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
    command.set_defaults(run=train)

    command = commands.add_parser("plan", help="show what would run, without training")
    _recipe_arguments(command)
    command.add_argument("--plot", metavar="FILE", help="draw batch size, learning rate and noise scale as a PNG")
    command.set_defaults(run=plan)

    command = commands.add_parser("compare", help="curves of several runs against epochs and updates")
    command.add_argument("runs", nargs="+", help="run folders; runs of one recipe are averaged")
    command.add_argument("--output", default="compare.png", metavar="FILE", help="PNG (default: compare.png)")
    command.set_defaults(run=compare)

    command = commands.add_parser("evaluate", help="measure a run or a weight file on the validation split")
    _recipe_arguments(command, "run folder or recipe")
    command.add_argument("--weights", help="file, or a name such as timm/resnet50d.ra2_in1k (default: the run's best)")
    command.set_defaults(run=evaluate)

    command = commands.add_parser("predict", help="labels and probabilities of image files")
    command.add_argument("what", help="folder of a finished run, or model name")
    command.add_argument("images", nargs="+", help="image files")
    command.add_argument("--weights", help="of a model: file, or a name such as timm/resnet50d.ra2_in1k")
    command.add_argument("--set", action="append", default=[], metavar="data.KEY=VALUE", dest="assignments",
                         help="change the preprocessing of the weights; may be repeated")
    command.add_argument("--top", type=int, default=5, help="labels shown for each image (default 5)")
    command.set_defaults(run=predict)

    command = commands.add_parser("export", help="write a run, or a model with published weights, for others to read")
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
    command.set_defaults(run=export)

    command = commands.add_parser("benchmark", help="images per second of each stage of a recipe's input pipeline")
    _recipe_arguments(command)
    command.add_argument("--data", action="store_true", required=True, help="measure the input pipeline")
    command.add_argument("--batches", type=int, default=5, metavar="N", help="batches in each of 3 passes (default 5)")
    command.set_defaults(run=benchmark)

    command = commands.add_parser("inspect", help="how a signal travels through fresh networks, block by block")
    command.add_argument("models", nargs="+", metavar="MODEL", help="model name, or .keras file")
    command.add_argument("--open", action="store_true", help="with the gammas and gains that start at 0 set to 1")
    command.add_argument("--image-size", type=int, help="pixels (default: the model's own)")
    command.add_argument("--batch-size", type=int, default=8, help="random images (default 8)")
    command.add_argument("--plot", metavar="FILE", help="draw all models as a PNG")
    command.set_defaults(run=inspect)

    command = commands.add_parser("scale", help="what width, depth and resolution cost, and which of them pays")
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
    command.set_defaults(run=scale)

    command = commands.add_parser("list", help="list models or recipes")
    command.add_argument("what", nargs="?", choices=("models", "recipes", "all"), default="all")
    command.add_argument("filter", nargs="?", default="*", help='pattern such as "resnet50*"')
    command.add_argument("--cost", action="store_true", help="models with parameters and multiply-adds (builds them)")
    command.set_defaults(run=list_)

    command = commands.add_parser("data", help="look at data, pack them, or let other machines prepare them")
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="count examples and classes, decode every image")
    check.add_argument("source", help="digits, image_folder, tfrecord or tfds:<name>")
    check.add_argument("--data-dir", help="folder of the images or of TFDS")
    check.set_defaults(run=data_check)
    pack = actions.add_parser("pack", help="write a source as TFRecord shards, read faster than many files")
    pack.add_argument("source", help="image_folder, tfds:<name> or digits")
    pack.add_argument("--data-dir", help="folder of the images or of TFDS")
    pack.add_argument("--output", required=True, help="new folder; train from it with data.source=tfrecord")
    pack.add_argument("--shard-mib", type=int, default=128, help="size of a shard in MiB (default 128)")
    pack.set_defaults(run=data_pack)
    serve = actions.add_parser("serve", help="make the batches of train --data-service (private networks only)")
    serve.add_argument("--port", type=int, help="port (default: 5050 for a dispatcher, any for a worker; 0: any)")
    serve.add_argument("--dispatcher", metavar="ADDRESS",
                       help="join this one as a worker (default: start a dispatcher and a worker)")
    serve.add_argument("--host", help="name or address at which others reach this machine (default: found)")
    serve.set_defaults(run=data_serve)

    command = commands.add_parser("doctor", help="versions, devices and one matrix product on each")
    command.set_defaults(run=doctor)
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


def _recipe(args, recipe=None):
    """The recipe named on the command line, with the command line's changes."""
    from keras_tricks.recipe import load_recipe

    recipe = recipe or load_recipe(args.recipe)
    recipe = recipe.override(args.assignments)
    if args.data_dir is not None:
        recipe = recipe.replace(data={"data_dir": args.data_dir})
    if args.minival is not None:
        recipe = recipe.replace(data={"minival": args.minival})
    if args.command == "train" and args.weights is not None:
        recipe = recipe.replace(model={"weights": args.weights})
    if args.command == "train" and args.freeze is not None:
        recipe = recipe.replace(model={"freeze": [part.strip() for part in args.freeze.split(",")]})
    if getattr(args, "data_service", None) is not None:
        recipe = recipe.replace(data={"service": args.data_service})
    for key in ("precision", "strategy", "logical_devices"):
        if getattr(args, key) is not None:
            recipe = recipe.replace(train={key: getattr(args, key)})
    return recipe if args.seed is None else recipe.replace(seed=args.seed)


def train(args):
    from keras_tricks import training

    recipe = None
    if args.recipe is not None:
        recipe = _recipe(args)
    elif args.resume not in (False, "auto"):
        from keras_tricks.run_folder import recipe_of

        recipe = _recipe(args, recipe_of(args.resume))
    training.train(recipe, args.output, args.resume, args.dry_run, changes=args.changes)


def plan(args):
    from keras_tricks import planning, training

    ready = training.prepare(_recipe(args))
    print(planning.describe(ready))
    if args.plot:
        planning.draw(ready.plan, args.plot)
        print(f"drawn to {args.plot}")


def compare(args):
    from keras_tricks import comparison

    groups = comparison.read_groups(args.runs)
    print(comparison.table(groups))
    comparison.draw(groups, args.output)
    print(f"drawn to {args.output}")


def evaluate(args):
    from keras_tricks import evaluation
    from keras_tricks.recipe import load_recipe

    folder = pathlib.Path(args.recipe)
    recipe, weights = None, args.weights
    if folder.is_dir():
        recipe, best = evaluation.of_run(folder)
        weights = weights or best
    if weights is None:
        raise UserError("evaluate needs weights: name a run folder, or give --weights FILE.")
    published = evaluation.as_published(recipe or load_recipe(args.recipe), weights)
    recipe = _recipe(args, published)
    evaluation.tell_preprocessing(recipe, published, weights, "recipe")
    for name, value in evaluation.evaluate(recipe, weights).items():
        print(f"{name:<12}{value:.4f}" if name == "loss" else f"{name:<12}{100 * value:.2f} %")


def predict(args):
    from keras_tricks import evaluation

    for path, answers in evaluation.predict(args.what, args.images, args.top, args.weights, args.assignments):
        print(path)
        for label, probability in answers:
            print(f"  {100 * probability:6.2f} %  {label}")


def export(args):
    from keras_tricks import exporting

    formats = [form.strip() for form in args.format.split(",")]
    options = {key: getattr(args, key) for key in
               ("output", "weights", "images", "fold", "dtype", "overwrite", "layout", "license", "owner")}  # fmt: skip
    of = exporting.of_run if pathlib.Path(args.what).is_dir() else exporting.of_model
    written = of(args.what, formats=formats, **options)
    for form, path in written.items():
        print(f"{form:<16}{path}")


def benchmark(args):
    from keras_tricks import benchmark, failures, training

    if args.batches < 1:
        raise UserError(f"--batches must be 1 or more. Received: {args.batches}")
    recipe = _recipe(args)
    source = training.open_data(recipe.data)
    with failures.of_data_in_words(source):
        speeds = benchmark.measure(recipe, source.train, source.num_classes, args.batches)
    print(benchmark.describe(speeds, source.train.num_examples, benchmark.free_memory()))


def inspect(args):
    from keras_tricks.analysis.signal_propagation import draw, signal_propagation

    signals = []
    for name in args.models:
        signals.append(signal_propagation(
            _model(name), batch_size=args.batch_size, image_size=args.image_size, open_branches=args.open))  # fmt: skip
        print(signals[-1], end="\n\n")
        if note := signals[-1].suspicion():
            print(note, end="\n\n")
    if args.plot:
        draw(signals, args.plot)
        print(f"drawn to {args.plot}")


def _model(name):
    """A fresh model of the zoo, or the one in a `.keras` file."""
    if not name.endswith(".keras"):
        from keras_tricks.models import create_model

        return create_model(name)
    import keras

    try:
        return keras.saving.load_model(name, compile=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{name} cannot be opened: {str(error).splitlines()[0]}") from None


def scale(args):
    from keras_tricks import benchmark, scaling_study
    from keras_tricks.analysis import scaling
    from keras_tricks.files import writable_folder

    for key in ("batch_size", "steps"):
        if getattr(args, key) < 1:
            raise UserError(f"--{key.replace('_', '-')} must be 1 or more. Received: {getattr(args, key)}")
    budgets = [scaling_study.parse_budget(text) for text in args.budget]
    _, most_macs = scaling_study.parse_budget(f"macs={args.up_to}", "--up-to", args.up_to)
    regimes = [_epochs(text) for text in args.train]
    recipe = _recipe(args) if regimes else None
    depths = args.depths or [d for d in scaling.DEPTHS if d in scaling_study.depths_of(args.family)]
    rows = scaling_study.rows_of(args.family, args.widths or scaling.WIDTHS, depths,
                                 args.resolutions or scaling.RESOLUTIONS, args.batch_size)  # fmt: skip
    folder = writable_folder(args.output)
    memory = 0.6 * (benchmark.free_memory() or math.inf)
    off = scaling_study.measure(rows, args.family, args.measure, args.batch_size, args.steps, most_macs,
                                args.deepest or math.inf, memory)  # fmt: skip
    for epochs in regimes:
        scaling_study.train(rows, args.family, recipe, epochs, folder)
    scaling_study.write_csv(rows, folder / "scaling.csv")
    scaling_study.draw(rows, folder / "scaling.png", f"{args.family}, batch {args.batch_size}")
    print(scaling_study.describe(rows, off))
    for text in args.budget if budgets else ():
        print(*scaling_study.advice(rows, text), sep="\n")
    print(f"written to {folder}: scaling.csv, scaling.png")


def _epochs(text):
    key, _, count = text.partition("=")
    if key != "epochs" or not count.isdigit() or int(count) < 1:
        raise UserError(f"--train takes epochs=K with K of 1 or more. Received: {text!r}")
    return int(count)


def list_(args):
    if args.what != "recipes":
        _list_models(args.filter, args.cost)
    if args.what == "all":
        print()
    if args.what != "models":
        _list_recipes(args.filter)


def _list_models(pattern, with_cost=False):
    from keras_tricks import analysis, models

    heading = f"{'parameters':>14}{'G multiply-adds':>17}" if with_cost else ""
    print(f"{'model':<20}{'paper':<20}{'train px':>8}{heading}{'ImageNet top-1 of the paper':>30}")
    for name in models.list_models(pattern):
        info = models.model_info(name)
        spent = analysis.cost(models.create_model(name)) if with_cost else None
        numbers = f"{spent.parameters:>14,}{spent.macs / 1e9:>17.3f}" if with_cost else ""
        print(f"{name:<20}{info.paper_ids:<20}{info.input_size[0]:>8}{numbers}{_percent(info.paper_top1):>30}")


def _list_recipes(pattern):
    from keras_tricks.recipe import list_recipes, load_recipe

    print(f"{'recipe':<46}{'paper':<20}{'expected top-1':>14}  from")
    for name in fnmatch.filter(list_recipes(), pattern):
        about = load_recipe(name).about
        where = about.expected_from + ("" if about.measured else " (not run here)")
        print(f"{name:<46}{about.paper:<20}{_percent(about.expected_top1):>14}  {where.strip()}")


def _percent(value):
    return "" if value is None else f"{value:.2f}"


def data_check(args):
    from keras_tricks.data.check import check

    for line in check(args.source, args.data_dir):
        print(line)


def data_pack(args):
    from keras_tricks.data.open_source import open_source
    from keras_tricks.data.tfrecord import pack

    if args.shard_mib < 1:
        raise UserError(f"--shard-mib must be 1 or more. Received: {args.shard_mib}")
    description = pack(open_source(args.source, args.data_dir), args.output, args.shard_mib * 2**20)
    for name, split in description["splits"].items():
        print(f"{name:<12}{split['examples']:>9,} images in {len(split['shards'])} shards")
    print(f"train from it with --set data.source=tfrecord --data-dir {args.output}")


def data_serve(args):
    import threading

    import tensorflow as tf

    from keras_tricks.data.service import serve

    tf.config.set_visible_devices([], "GPU")  # a worker needs none, and would take its memory
    serving = serve(args.port, args.dispatcher, args.host)
    what = "a dispatcher and a worker at" if args.dispatcher is None else "a worker of"
    print(f"{what} {serving.address}, until Ctrl-C", flush=True)
    print(f"  train with       keras-tricks train RECIPE --data-service {serving.address}", flush=True)
    print(f"  another worker   keras-tricks data serve --dispatcher {serving.address}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", flush=True)


def doctor(args):
    from keras_tricks.doctor import examine

    for line in examine():
        print(line)
