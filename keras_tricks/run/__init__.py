"""One run: which recipe, which folder, where it resumes; its lock, its log, what can end it.

    resolve.py      the arguments of `train` -> `ResolvedRun`
    folder.py       what a run folder holds, and the checkpoint it stands for
    lock.py         one writer per folder
    log.py          log.txt, and the closing lines
    environment.py  env.json: versions and devices
    failures.py     what can end a training, translated into one line

    recipe.json  env.json  log.txt  .lock           written by `training.py`, with what is here
    summary.csv  curves.png  events/  checkpoints/  written by `kt.callbacks`
    export/                                         written by `kt.export`
"""
