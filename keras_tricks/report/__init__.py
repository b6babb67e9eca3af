"""The report of a run: one HTML page without scripts or requests, and its tables as CSV."""

from keras_tricks.report.write import write_report
