"""Writes docs/models.csv, parameters and multiply-adds of every model, and the table in docs/differences.md.

    python docs/make_tables.py [differences]

Builds all models, which takes minutes; the pages are made from the file in seconds. With the argument, only the table
of differences is written. `tests/docs/test_docs.py` and `tests/studies/test_reference.py` compare both with the
package.
"""

import csv
import pathlib
import re
import sys

import keras

import keras_tricks as kt
from keras_tricks.studies import reference

PATH = pathlib.Path(__file__).parent / "models.csv"
COLUMNS = ("name", "family", "paper", "parameters", "macs", "image_size", "test_image_size", "paper_top1")


def row(name):
    """The line of a model, a dict of strings."""
    info = kt.models.model_info(name)
    spent = kt.analysis.cost(kt.models.create_model(name))
    keras.utils.clear_session()
    return {"name": name, "family": info.family, "paper": info.paper_ids, "parameters": str(spent.parameters),
            "macs": str(spent.macs), "image_size": str(info.input_size[0]),
            "test_image_size": str(info.test_input_size[0]),
            "paper_top1": "" if info.paper_top1 is None else f"{info.paper_top1:g}"}


def write_differences():
    """Replaces the first table in docs/differences.md; the other one is written by hand."""
    path = PATH.with_name("differences.md")
    table = reference.table_of_differences() + "\n"
    path.write_text(re.sub(r"(?:^\|.*\n)+", lambda _: table, path.read_text(), count=1, flags=re.MULTILINE))


def main():
    write_differences()
    if sys.argv[1:] == ["differences"]:
        return
    with open(PATH, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in kt.models.list_models():
            if not name.startswith("test_"):
                writer.writerow(row(name))
                file.flush()


if __name__ == "__main__":
    main()
