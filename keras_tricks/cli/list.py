"""list models, tricks, recipes or published weights"""

import fnmatch


def add_arguments(parser):
    parser.add_argument("what", nargs="?", choices=("models", "tricks", "recipes", "weights", "all"), default="all")
    parser.add_argument("filter", nargs="?", default="*", help='pattern such as "resnet50*"')
    parser.add_argument("--cost", action="store_true", help="add parameters and multiply-adds of models (builds them)")


def run(args):
    lists = {"models": lambda: _list_models(args.filter, args.cost), "tricks": lambda: _list_tricks(args.filter),
             "recipes": lambda: _list_recipes(args.filter), "weights": lambda: _list_weights(args.filter)}
    for number, what in enumerate(lists if args.what == "all" else [args.what]):
        if number:
            print()
        lists[what]()


def _list_tricks(pattern):
    from keras_tricks.utils import cards

    print(f"{'trick':<25}{'file':<42}switched on in a recipe by")
    for card in cards.cards():
        if "Recipe" not in card.fields:  # a family
            continue
        for name, changes in (card.switches or {card.name: ()}).items():
            if fnmatch.fnmatch(name, pattern):
                print(f"{name:<25}{card.path:<42}{' '.join(changes)}".rstrip())


def _list_models(pattern, with_cost=False):
    from keras_tricks import analysis, models

    heading = f"{'parameters':>14}{'G multiply-adds':>17}" if with_cost else ""
    print(f"{'model':<20}{'paper':<20}{'train px':>8}{heading}{'ImageNet top-1 of the paper':>30}")
    for name in models.list_models(pattern):
        info = models.model_info(name)
        cost = analysis.cost(models.create_model(name)) if with_cost else None
        numbers = f"{cost.parameters:>14,}{cost.macs / 1e9:>17.3f}" if with_cost else ""
        print(f"{name:<20}{info.paper_ids:<20}{info.input_size[0]:>8}{numbers}{_percent(info.paper_top1):>30}")


def _list_recipes(pattern):
    from keras_tricks.recipe import list_recipes, load_recipe

    print(f"{'recipe':<46}{'paper':<20}{'expected top-1':>14}  from")
    for name in fnmatch.filter(list_recipes(), pattern):
        about = load_recipe(name).about
        where = about.expected_from + ("" if about.measured else " (not run here)")
        print(f"{name:<46}{about.paper:<20}{_percent(about.expected_top1):>14}  {where.strip()}")


def _list_weights(pattern):
    from keras_tricks import models
    from keras_tricks.weights import pretrained

    print(f"{'model':<20}{'weights':<44}{'parameters':>12}{'px':>6}{'ImageNet top-1':>16}  licence")
    for model in models.list_models():
        for found in pretrained.checkpoints(model):
            if fnmatch.fnmatch(model, pattern) or fnmatch.fnmatch(found.name, pattern):
                line = (f"{model:<20}{found.name:<44}{found.parameters:>10.2f} M{found.image_size:>6}"
                        f"{found.top1:>16.2f}  {pretrained.licence(found)}")
                print(line.rstrip())


def _percent(value):
    return "" if value is None else f"{value:.2f}"
