"""One worker of `test_multi_worker.py`: trains the cases named on the command line and saves their weights.

    TF_CONFIG=... python tests/support/worker.py FOLDER sgd agc ...
"""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parents[2])]

from keras_tricks import distribution  # noqa: E402


def main(folder, *names):
    strategy = distribution.strategy("multi_worker")
    import numpy as np

    from support import replicas

    for name in names:
        weights = replicas.train(replicas.CASES[name], strategy)
        np.save(pathlib.Path(folder) / f"{name}_{strategy.cluster_resolver.task_id}.npy", weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
