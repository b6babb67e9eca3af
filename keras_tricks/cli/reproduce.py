"""train a weight file again from the recipe it holds, and compare"""

import sys


def add_arguments(parser):
    parser.add_argument("weights", metavar="file", help="safetensors file written by a run or by export --layout "
                                                        "huggingface, or a run folder: its best weights")
    parser.add_argument("--output", metavar="FOLDER",
                        help="train in this run folder (default: runs/reproduce-<recipe name>)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="read the data from this folder (default: the recipe's)")


def run(args):
    from keras_tricks.studies.reproduce import reproduce

    found = reproduce(args.weights, args.output, args.data_dir)
    print(*describe(found), sep="\n", flush=True)
    if not found.equal:
        sys.exit(1)


def describe(found):
    """The lines that `reproduce` prints.

    Args:
        found: `Reproduction`.
    """
    yield f"file        {found.path}"
    yield f"again       {found.folder}"
    if found.equal:
        yield f"result      {found.tensors:,} tensors are bit-equal"
    else:
        worst = max(found.different, key=found.different.get)
        yield (f"result      {len(found.different):,} of {found.tensors:,} tensors differ, by up to "
               f"{found.different[worst]:.3g} ({worst})")
    yield f"versions    {'; '.join(found.changed) or 'the same'}"
