"""`keras-tricks ablate`: measures the effect of each trick on your data, as a table like those of the papers.

    chain, papers -> study -> report

    chain.py       recipes of the rows: tricks added one after the other, or left out one at a time
    papers.py      the chains of the four works
    study.py       trains every row with every seed; a complete run is not trained again
    paired.py      whether a row pays: its difference over paired seeds, with a confidence interval
    report.py      ablation.csv, ablation.md, ablation.png

All files are written to one folder, with the runs in `runs/<row>/seed<n>/`.
"""

from keras_tricks.studies.ablation.chain import AblationRow, cumulative_rows, describe
from keras_tricks.studies.ablation.chain import leave_one_out_rows, resolve_tricks
from keras_tricks.studies.ablation.papers import CHAINS, rows_of_paper
from keras_tricks.studies.ablation.paired import PairedDifference, paired_differences
from keras_tricks.studies.ablation.report import draw, read_csv, summaries, table, write, write_csv
from keras_tricks.studies.ablation.study import Result, study
