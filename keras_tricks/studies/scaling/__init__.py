"""`keras-tricks scale`: costs of a grid of networks and, on request, measured times, budgets and trained errors.

    family -> study -> budget, report
              timing

    family.py      the network of a width and a depth
    study.py       rows: costs of all networks, times of some (in processes of `timing.py`), errors of trained ones
    budget.py      the networks that use a budget best
    report.py      scaling.csv, scaling.png, the table on the terminal

All files are written to one folder, with the trained networks in `runs/`. A complete run is not trained again.
"""

from keras_tricks.studies.scaling.budget import advice, parse_budget
from keras_tricks.studies.scaling.family import FAMILIES, depths_of
from keras_tricks.studies.scaling.report import describe, draw, write_csv
from keras_tricks.studies.scaling.study import GridRow, measure, make_rows, train
