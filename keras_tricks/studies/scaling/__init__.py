"""`keras-tricks scale`: costs of a grid of networks, measured times of some, a budget, and trained errors if asked for.

    family -> study -> budget, report
              timing

    family.py      which networks a width and a depth stand for
    study.py       rows: costs of all, times of some in `timing.py`'s processes, errors of trained ones
    budget.py      which of them use a budget best
    report.py      scaling.csv, scaling.png, the table on the terminal

Everything is written to one folder, with `runs/` for the trained networks; a run that is complete is not trained again.
"""

from keras_tricks.studies.scaling.budget import advice, parse_budget
from keras_tricks.studies.scaling.family import FAMILIES, depths_of
from keras_tricks.studies.scaling.report import describe, draw, write_csv
from keras_tricks.studies.scaling.study import GridRow, measure, make_rows, train
