"""write the report of a run as one HTML page"""

from keras_tricks.cli import arguments


def add_arguments(parser):
    parser.add_argument("run_folder", metavar="run", help="run folder; the run may still be training")
    parser.add_argument("--data-dir", metavar="FOLDER",
                        help="evaluate on all images of this folder (default: the validation split of the run)")
    parser.add_argument("--class-map", metavar="FILE",
                        help='map class folders of other names with this JSON: {"folder name": "class of the run"}')
    parser.add_argument("--output", metavar="FILE",
                        help="write the page to this .html file, and its tables to a folder of that name beside it "
                             "(default: report.html in the run folder)")


def run(args):
    from keras_tricks.report import write_report
    from keras_tricks.utils.class_names import read_mapping

    mapping = read_mapping(args.class_map) if args.class_map else None
    page, *tables = write_report(args.run_folder, args.output, args.data_dir, mapping).files
    print(f"report      {page} ({arguments.size_of(page)})")
    for table in tables:
        print(f"{'':<12}{table} ({arguments.size_of(table)})")
