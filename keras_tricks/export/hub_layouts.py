"""Folders ready to be pushed to a model hub: made offline, and pushed with the hub's own tool.

    Hugging Face   the forms, model.safetensors and config.json (timm's keys) in one folder, a README.md with metadata;
                   `hf upload OWNER/NAME FOLDER`, then `kt.models.create_model(..., weights="hf://OWNER/NAME")`
    Kaggle         model-metadata.json, and a folder for each form with its model-instance-metadata.json;
                   `kaggle models create -p FOLDER`, `kaggle models instances create -p FOLDER/FRAMEWORK/VARIATION`
"""

import json
import math
import pathlib
import re
import shutil

from keras_tricks.utils.atomic_files import write_text
from keras_tricks.weights import safetensors_io

FILES = {"huggingface": ("model.safetensors", "config.json"),
         "kaggle": ("model-metadata.json", "keras", "tensorFlow2", "tfLite", "other")}
KAGGLE = {  # form: framework, what the variation's name ends in
    "keras": ("keras", ""),
    "saved_model": ("tensorFlow2", ""),
    "feature_vector": ("tensorFlow2", "-feature-vector"),
    "onnx": ("other", "-onnx"),
    "litert": ("tfLite", ""),
    "litert_int8": ("tfLite", "-int8"),
}
OWNER = "INSERT_OWNER_SLUG_HERE"  # what Kaggle's own templates say


def hugging_face(folder, what, card, license):
    """Adds weights and their description to a folder of forms. Returns the card with the metadata the Hub reads.

    Args:
        folder: `pathlib.Path` of the forms.
        what: `model_card.Exported`.
        card: Markdown.
        license: identifier such as `"apache-2.0"`, or `""`.
    """
    weights = safetensors_io.weights_of(what.network)
    safetensors_io.save(folder / "model.safetensors", weights, {"format": "keras_tricks"})
    data, size = what.data, what.data.test_size
    crops = {"center": (data.crop_pct, "center"), "squash": (size / (size + data.crop_padding), "squash"),
             "short_side": (size / data.short_side, "center"), "whole": (1.0, "squash")}
    crop_pct, crop_mode = crops[data.eval_crop]
    config = {
        "architecture": what.name,
        "library": "keras_tricks",
        "num_classes": what.network.output_shape[-1],
        "pretrained_cfg": {
            "input_size": [3, size, size], "interpolation": data.interpolation, "crop_pct": crop_pct,
            "crop_mode": crop_mode, "mean": [m / 255 for m in data.mean], "std": [s / 255 for s in data.std],
            "license": license,
        },
    }
    if what.class_names:
        config["label_names"] = list(what.class_names)
    _write(folder / "config.json", config)
    header = {"library_name": "keras", "pipeline_tag": "image-classification", "license": license or "other",
              "tags": ["keras_tricks", "image-classification", what.name]}
    return f"---\n{''.join(_yaml(key, value) for key, value in header.items())}---\n{card}"


def kaggle(folder, what, written, card, license, owner):
    """Moves each form into the folder of its variation and describes model and variations. Returns {form: path}.

    Args:
        folder, what, card, license: as `hugging_face`.
        written: {form: path} in `folder`.
        owner: account; empty leaves Kaggle's placeholder.
    """
    slug, variation = _slug(what.name), _variation(what)
    _write(folder / "model-metadata.json", {
        "ownerSlug": owner or OWNER, "title": what.name, "slug": slug, "subtitle": "Image classification in Keras",
        "isPrivate": True, "description": card, "publishTime": "", "provenanceSources": ""})
    places = {}
    for form, path in written.items():
        framework, ending = KAGGLE[form]
        place = folder / framework / f"{variation}{ending}"
        if place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path.rename(place)
        else:
            place.mkdir()
            path.rename(place / path.name)
        _write(place / "model-instance-metadata.json", {
            "ownerSlug": owner or OWNER, "modelSlug": slug, "instanceSlug": place.name, "framework": framework,
            "overview": f"{what.name}, {math.prod(what.network.input_shape[1:3]):,} pixels", "usage": card,
            "licenseName": _kaggle_license(license), "fineTunable": form in ("keras", "saved_model", "feature_vector"),
            "trainingData": []})
        places[form] = place
    return places


def _kaggle_license(license):
    """Kaggle writes `Apache 2.0` where others write `apache-2.0`."""
    names = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-4.0": "Attribution 4.0 International (CC BY 4.0)",
             "cc-by-nc-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)"}
    return names.get(license, license or "Other")


def _variation(what):
    if what.recipe is not None:
        return _slug(what.recipe.name.split("/")[-1])
    return _slug(re.sub(r"\.(safetensors|weights\.h5|keras)$", "", pathlib.Path(what.weights).name))


def _slug(text):
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _yaml(key, value):
    if isinstance(value, list):
        return f"{key}:\n" + "".join(f"- {item}\n" for item in value)
    return f"{key}: {value}\n"


def _write(path, content):
    write_text(path, json.dumps(content, indent=2) + "\n")
