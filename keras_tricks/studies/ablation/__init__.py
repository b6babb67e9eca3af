"""`keras-tricks ablate`: what each trick buys on your data, as the tables of the papers are made.

    chain, papers -> study -> report

    chain.py       which recipes the rows stand for: tricks added one after the other, or left out one by one
    papers.py      the chains of the four works
    study.py       trains every row with every seed; a run that is complete is not trained again
    report.py      ablation.csv, ablation.md, ablation.png

Everything is written to one folder, with `runs/<row>/seed<n>/` for the runs.
"""

from keras_tricks.studies.ablation.chain import AblationRow, cumulative_rows, describe
from keras_tricks.studies.ablation.chain import leave_one_out_rows, resolve_tricks
from keras_tricks.studies.ablation.papers import CHAINS, rows_of_paper
from keras_tricks.studies.ablation.report import draw, read_csv, summaries, table, write, write_csv
from keras_tricks.studies.ablation.study import Result, study
