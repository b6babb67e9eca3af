"""draw the curves of several runs against epochs and updates"""


def add_arguments(parser):
    parser.add_argument("runs", nargs="+", help="run folders; runs of one recipe are averaged")
    parser.add_argument("--output", default="compare.png", metavar="FILE", help="write this PNG (default: compare.png)")


def run(args):
    from keras_tricks.studies import compare

    groups = compare.read_groups(args.runs)
    print(compare.table(groups))
    compare.draw(groups, args.output)
    print(f"drawn to {args.output}")
