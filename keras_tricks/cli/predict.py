"""print labels and probabilities of image files"""


def add_arguments(parser):
    parser.add_argument("what", help="folder of a finished run, or model name")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--weights", help="of a model: file, or a name such as timm/resnet50d.ra2_in1k")
    parser.add_argument("--set", action="append", default=[], metavar="data.KEY=VALUE", dest="assignments",
                        help="change the preprocessing of the weights; may be repeated")
    parser.add_argument("--top", type=int, default=5, help="labels shown for each image (default 5)")


def run(args):
    from keras_tricks import evaluation

    for path, answers in evaluation.predict(args.what, args.images, args.top, args.weights, args.assignments):
        print(path)
        for label, probability in answers:
            print(f"  {100 * probability:6.2f} %  {label}")
