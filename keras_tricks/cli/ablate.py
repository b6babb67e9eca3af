"""measure the effect of each trick: a table of recipes that differ by one"""

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    arguments.add_recipe_arguments(parser, "recipe name, .py or .json file (with --chain: the paper's)", nargs="?")
    parser.add_argument("--add", action="append", default=[], metavar="TRICK",
                        help='add a row to the chain: a trick, "NAME: section.key=value", or "mixup -distillation"')
    parser.add_argument("--remove", action="append", default=[], metavar="TRICK", help="leave this trick out")
    parser.add_argument("--chain", metavar="NAME", help="use the rows of a paper, such as bag_of_tricks_table_4")
    parser.add_argument("--define", "--let", action="append", default=[], metavar="TRICK: SECTION.KEY=VALUE",
                        help="define or replace a trick (default: see `list tricks`)")
    parser.add_argument("--seeds", type=arguments.count(1), default=3, metavar="N",
                        help="run each row with N seeds (default: 3)")
    parser.add_argument("--output", default="ablation", metavar="FOLDER",
                        help="write results and runs here; the same command continues an interrupted study")
    parser.add_argument("--dry-run", action="store_true", help="show the rows without training")


def run(args):
    from keras_tricks.studies import ablation
    from keras_tricks.utils.atomic_files import writable_folder

    rows = _rows(args)
    if args.dry_run:
        print(*ablation.describe(rows), sep="\n")
        return
    folder = writable_folder(args.output)
    seeds = range(rows[0].recipe.seed, rows[0].recipe.seed + args.seeds)
    title = f"{args.chain or rows[0].recipe.name}, {rows[0].recipe.schedule.epochs} epochs"
    for results in ablation.study(rows, seeds, folder):
        ablation.write(rows, results, folder, title)
    print(ablation.table(rows, results))
    for difference in ablation.paired_differences(rows, results):
        print(difference)
    if args.seeds < 2:
        print("One seed gives no standard deviation, so differences may be noise. Give --seeds 3.")
    print(f"written to {folder}: ablation.csv, ablation.md, ablation.png")


def _rows(args):
    """The rows that the arguments define."""
    from keras_tricks.studies import ablation

    if sum(map(bool, (args.chain, args.add, args.remove))) != 1:
        raise UserError("ablate takes --add (a chain), --remove (leave one out) or --chain (a paper's table): one of "
                        f"them, --add and --remove as often as needed. Chains: {', '.join(ablation.CHAINS)}.")
    if args.recipe is None and not args.chain:
        raise UserError("ablate needs a recipe, or --chain, which has its own.")
    tricks = ablation.resolve_tricks(args.define)
    if args.recipe is None and args.chain in ablation.CHAINS:
        args.recipe = ablation.CHAINS[args.chain].recipe
    recipe = arguments.recipe_from(args) if args.recipe else None
    if args.chain:
        return ablation.rows_of_paper(args.chain, recipe, tricks)
    if args.add:
        return ablation.cumulative_rows(recipe, args.add, tricks)
    return ablation.leave_one_out_rows(recipe, args.remove, tricks)
