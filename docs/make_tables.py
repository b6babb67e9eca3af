"""Writes docs/models.csv: parameters and multiply-adds of every model of the zoo, for the pages of the families.

    python docs/make_tables.py

Builds all of them, which takes minutes; the pages are made from the file in seconds. `tests/docs/test_docs.py` compares
the file with the package.
"""

import csv
import pathlib

import keras

import keras_tricks as kt

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


def main():
    with open(PATH, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in kt.models.list_models():
            if not name.startswith("test_"):
                writer.writerow(row(name))
                file.flush()


if __name__ == "__main__":
    main()
