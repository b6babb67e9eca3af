"""One run: its recipe, folder and resume, its lock, its log, and its errors.

    resolve.py      the arguments of `train` -> `ResolvedRun`
    folder.py       the contents of a run folder
    weights.py      selects the weights of a run
    process.py      the state of the process, which a training changes and restores
    lock.py         one writer per folder
    log.py          log.txt, and the closing lines
    loggers.py      W&B, MLflow and Trackio
    own.py          models and callbacks of the user
    environment.py  env.json: versions and devices
    failures.py     errors during training, translated into one line
    peers.py        workers of one run: what they have in common, and which failed first

    recipe.json  classes.json  env.json  log.txt  .lock
                                                    written by `training.py`, with these modules
    summary.csv  curves.png  events/  checkpoints/  written by `kt.callbacks`
    failed/                                         written by `peers.py`: the errors of workers
    export/                                         written by `kt.export`
"""
