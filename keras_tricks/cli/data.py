"""check data, pack them, or serve batches from other machines"""

from keras_tricks.cli import arguments


def add_arguments(parser):
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="count examples and classes, decode every image")
    check.add_argument("source", help="digits, image_folder, csv, webdataset, hf:<name>, tfds:<name> or tfrecord")
    check.add_argument("--data-dir", help="read images, or the data of TFDS, from this folder, or this CSV file")
    check.set_defaults(action_run=run_check)
    pack = actions.add_parser("pack", help="write a source as TFRecord shards, which are read faster than many files")
    pack.add_argument("source", help="any source but tfrecord, such as image_folder")
    pack.add_argument("--data-dir", help="read images, or the data of TFDS, from this folder, or this CSV file")
    pack.add_argument("--output", required=True,
                      help="write to this new folder; train from it with data.source=tfrecord")
    pack.add_argument("--shard-mib", type=arguments.count(1), default=128,
                      help="set the size of a shard in MiB (default: 128)")
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


def run_check(args):
    from keras_tricks.data.check import check

    for line in check(args.source, args.data_dir):
        print(line)


def run_pack(args):
    from keras_tricks.data.sources.open_source import open_source
    from keras_tricks.data.sources.tfrecord import pack

    description = pack(open_source(args.source, args.data_dir), args.output, args.shard_mib * 2**20)
    for name, split in description["splits"].items():
        print(f"{name:<12}{split['examples']:>9,} images in {len(split['shards'])} shards")
    print(f"train from it with --set data.source=tfrecord --data-dir {args.output}")


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
