"""check data, pack them, or serve batches from other machines"""

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

SHOWN = 100  # suspicious labels
ALL = 2**31 - 1  # broken images are counted, none ends the check


def add_arguments(parser):
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="count examples and classes, decode every image")
    _add_source(check, "digits, image_folder, csv, webdataset, hf:<name>, tfds:<name>, tfrecord or package.module:"
                "function (default with --labels: the data of the run)", nargs="?")
    check.add_argument("--duplicates", action="store_true",
                       help="find images that are there twice, in a split or in both")
    check.add_argument("--labels", metavar="RUN", help="find labels that this run contradicts with confidence")
    check.set_defaults(action_run=run_check)
    pack = actions.add_parser("pack", help="write a source as TFRecord shards, which are read faster than many files")
    _add_source(pack, "any source but tfrecord, such as image_folder")
    pack.add_argument("--output", required=True,
                      help="write to this new folder; train from it with data.source=tfrecord")
    pack.add_argument("--shard-mib", type=arguments.count(1), default=128,
                      help="set the size of a shard in MiB (default: 128)")
    pack.add_argument("--max-side", type=arguments.count(1), metavar="PIXELS",
                      help="reduce images to this longer side and encode them as JPEG (default: unchanged copies)")
    pack.add_argument("--quality", type=arguments.count(1, 100), metavar="Q",
                      help="encode images as JPEG of this quality (default with --max-side: 90)")
    pack.add_argument("--uncompressed", type=arguments.number(0, most=1), nargs="?", const=1.0, metavar="SHARE",
                      help="store this share of the images as pixels, which are read faster and take about five times "
                      "the space of a JPEG (no value: 1, all)")
    pack.set_defaults(action_run=run_pack)
    serve = actions.add_parser("serve", help="make the batches of train --data-service (private networks only)")
    serve.add_argument("--port", type=arguments.count(0, 65535),
                       help="listen on this port (default: 5050 for a dispatcher, any for a worker; 0: any)")
    serve.add_argument("--dispatcher", metavar="ADDRESS",
                       help="join this dispatcher as a worker (default: start a dispatcher and a worker)")
    serve.add_argument("--host", help="announce this name or address to other machines (default: detected); the ports "
                       "are open on every network in any case")
    serve.set_defaults(action_run=run_serve)


def run(args):
    args.action_run(args)


def _add_source(parser, sources, **kwargs):
    parser.add_argument("source", help=sources, **kwargs)
    parser.add_argument("--data-dir", help="read images, or the data of TFDS, from this folder, or this CSV file")
    parser.add_argument("--image-column", metavar="NAME", help="name of the column with images (data.image_column)")
    parser.add_argument("--label-column", metavar="NAME", help="name of the column with labels (data.label_column)")
    parser.add_argument("--set", action="append", default=[], metavar="data.KEY=VALUE", dest="assignments",
                        help="change how the source is read, as in a recipe; may be repeated")


def _section(args, section=None):
    """The `data` section of the command line. `section` has the values that it does not give."""
    from keras_tricks.recipe import Recipe

    for assignment in args.assignments:
        if not assignment.startswith("data."):
            raise UserError(f"--set changes the section data here: data.KEY=VALUE. Received: {assignment}")
    recipe = Recipe() if section is None else Recipe(data=section)
    given = {key: getattr(args, key) for key in ("source", "data_dir", "image_column", "label_column")}
    given = {key: value for key, value in given.items() if value is not None}
    return (recipe.replace(data=given) if given else recipe).override(args.assignments).data


def run_check(args):
    from keras_tricks import training
    from keras_tricks.data.check import check
    from keras_tricks.run.folder import recipe_of

    if args.source is None and args.labels is None:
        raise UserError("data check needs a source, such as image_folder, or --labels RUN.")
    recipe = None if args.labels is None else recipe_of(args.labels)
    data = _section(args, recipe and recipe.data)
    opened = training.open_data(data.model_copy(update={"max_bad_images": ALL, "train_images": None}))
    for line in check(data.source, data.data_dir, opened, args.duplicates):
        print(line, flush=True)
    if recipe is not None:
        for line in _suspicious(args.labels, recipe, data):
            print(line, flush=True)


def _suspicious(folder, recipe, data):
    """Yields the labels of both splits that the best weights of a run contradict with confidence."""
    from keras_tricks.report.answers import answer
    from keras_tricks.run.weights import run_weights

    weights = run_weights(folder).path
    data = data.model_copy(update={"max_bad_images": ALL})
    for name, learnt in (("validation", ""), ("training", ": the run was trained on them, and has learnt some wrong "
                                              "labels by heart")):
        answers = answer(recipe.replace(data=data.model_dump()), weights, recipe.data, split=name)
        found, classes = answers.issues
        yield f"{'suspicious':<12}{len(found):>9,} labels of {len(answers.labels):,} {name} images{learnt}"
        for i, k in list(zip(found, classes, strict=True))[:SHOWN]:
            where = answers.path(i) or f"{name}[{answers.numbers[i]}]"
            yield f"  {printable(where)}: {_contradiction(answers, i, k)}"
        if len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN:,} more"


def _contradiction(answers, i, k):
    """What the network says of the label of image `i`, where it contradicts it in class `k`."""
    label, (name, share) = answers.labels[i], _named(answers, i, k)
    if label.ndim:
        return f"labelled {name}, probably not {share}" if label[k] else f"not labelled {name}, but probably {share}"
    own, own_share = _named(answers, i, label)
    return f"labelled {own} {own_share}, probably {name} {share}"


def _named(answers, i, k):
    return printable(answers.class_names[k]), f"({100 * answers.probabilities[i, k]:.1f} %)"


def run_pack(args):
    from keras_tricks import training
    from keras_tricks.data.sources.reencode import Encoding
    from keras_tricks.data.sources.tfrecord import pack

    changed = any(value is not None for value in (args.max_side, args.quality, args.uncompressed))
    encoding = Encoding(args.max_side, args.quality or 90, args.uncompressed or 0.0) if changed else None
    source = training.open_data(_section(args))
    description = pack(source, args.output, args.shard_mib * 2**20, encoding)
    for name, split in description["splits"].items():
        print(f"{name:<12}{split['examples']:>9,} images in {len(split['shards'])} shards")
    several = " --set data.multi_label=true --set loss.name=binary_crossentropy" if source.multi_label else ""
    print(f"train from it with --set data.source=tfrecord --data-dir {args.output}{several}")


def run_serve(args):
    import threading

    from keras_tricks.data.service import serve
    from keras_tricks.distribution import hide_gpus

    hide_gpus()  # a worker needs none, and would take their memory
    serving = serve(args.port, args.dispatcher, args.host)
    what = "a dispatcher and a worker at" if args.dispatcher is None else "a worker of"
    print(f"{what} {serving.address}, until Ctrl-C", flush=True)
    print(f"  train with       keras-tricks train RECIPE --data-service {serving.address}", flush=True)
    print(f"  another worker   keras-tricks data serve --dispatcher {serving.address}", flush=True)
    print("  reachable from   every network of this machine, whatever --host says: TensorFlow cannot listen on one "
          "address only. Whoever reaches the ports can read and write files here.", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", flush=True)
