"""show the signal propagation of untrained networks, block by block"""

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model name, or .keras file")
    parser.add_argument("--open", action="store_true", help="set gammas and gains that start at 0 to 1")
    parser.add_argument("--image-size", type=arguments.count(1),
                        help="use images of this size in pixels (default: that of the model)")
    parser.add_argument("--batch-size", type=arguments.count(1), default=8,
                        help="use this many random images (default: 8)")
    parser.add_argument("--plot", metavar="FILE", help="draw all models as a PNG")


def run(args):
    from keras_tricks.analysis.signal_propagation import draw, signal_propagation

    signals = []
    for name in args.models:
        signals.append(signal_propagation(
            _model(name), batch_size=args.batch_size, image_size=args.image_size, open_branches=args.open))
        print(signals[-1], end="\n\n")
        if note := signals[-1].suspicion():
            print(note, end="\n\n")
    if args.plot:
        draw(signals, args.plot)
        print(f"drawn to {args.plot}")


def _model(name):
    """A new model of the zoo, or the one in a `.keras` file."""
    if not name.endswith(".keras"):
        from keras_tricks.models import create_model

        return create_model(name)
    import keras

    try:
        return keras.saving.load_model(name, compile=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{name} cannot be opened: {str(error).splitlines()[0]}") from None
