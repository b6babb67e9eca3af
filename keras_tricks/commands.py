"""What each command of `keras-tricks` does with its arguments: calls the package, prints what comes of it.

The arguments are those of the parser in `cli.py`. The package is imported where it is used: `--help` is quick.
"""

import fnmatch
import math
import pathlib

from keras_tricks.errors import UserError


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

    keys = ("images", "fold", "dtype", "overwrite", "layout", "license", "owner")
    formats = tuple(form.strip() for form in args.format.split(","))
    options = exporting.Options(formats, **{key: getattr(args, key) for key in keys})
    of = exporting.of_run if pathlib.Path(args.what).is_dir() else exporting.of_model
    for form, path in of(args.what, options, args.output, args.weights).items():
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


def ablate(args):
    from keras_tricks import ablation
    from keras_tricks.files import replaced, writable_folder

    if args.seeds < 1:
        raise UserError(f"--seeds must be 1 or more. Received: {args.seeds}")
    if sum(map(bool, (args.chain, args.add, args.remove))) != 1:
        raise UserError("ablate takes --add (a chain), --remove (leave one out) or --chain (a paper's table): one of "
                        f"them, --add and --remove as often as needed. Chains: {', '.join(ablation.CHAINS)}.")
    if args.recipe is None and not args.chain:
        raise UserError("ablate needs a recipe, or --chain, which has its own.")
    tricks = ablation.with_own(args.let)
    if args.recipe is None and args.chain in ablation.CHAINS:
        args.recipe = ablation.CHAINS[args.chain].recipe
    recipe = _recipe(args) if args.recipe else None
    if args.chain:
        rows = ablation.of_paper(args.chain, recipe, tricks)
    elif args.add:
        rows = ablation.added(recipe, args.add, tricks)
    else:
        rows = ablation.left_out(recipe, args.remove, tricks)
    if args.dry_run:
        print(*ablation.describe(rows), sep="\n")
        return
    folder = writable_folder(args.output)
    seeds = range(rows[0].recipe.seed, rows[0].recipe.seed + args.seeds)
    title = f"{args.chain or rows[0].recipe.name}, {rows[0].recipe.schedule.epochs} epochs"
    for results in ablation.study(rows, seeds, folder):
        ablation.write_csv(rows, results, folder / "ablation.csv")
        ablation.draw(rows, results, folder / "ablation.png", title)
        with replaced(folder / "ablation.md") as partial:
            partial.write_text(ablation.table(rows, results) + "\n", encoding="utf-8")
    print(ablation.table(rows, results))
    if args.seeds < 2:
        print("One seed: no standard deviation, so no difference above can be told from noise. Give --seeds 3.")
    print(f"written to {folder}: ablation.csv, ablation.md, ablation.png")


def _epochs(text):
    key, _, count = text.partition("=")
    if key != "epochs" or not count.isdigit() or int(count) < 1:
        raise UserError(f"--train takes epochs=K with K of 1 or more. Received: {text!r}")
    return int(count)


def list_(args):
    lists = {"models": lambda: _list_models(args.filter, args.cost), "tricks": lambda: _list_tricks(args.filter),
             "recipes": lambda: _list_recipes(args.filter)}  # fmt: skip
    for number, what in enumerate(lists if args.what == "all" else [args.what]):
        if number:
            print()
        lists[what]()


def _list_tricks(pattern):
    from keras_tricks import cards

    print(f"{'trick':<22}{'file':<42}switched on in a recipe by")
    for card in cards.cards():
        if "Recipe" not in card.fields:  # a family
            continue
        for name, changes in (card.switches or {card.name: ()}).items():
            if fnmatch.fnmatch(name, pattern):
                print(f"{name:<22}{card.path:<42}{' '.join(changes)}".rstrip())


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
