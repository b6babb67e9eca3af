"""Folders for a model hub, made offline and uploaded with the hub's own tool.

    Hugging Face   the formats, model.safetensors and config.json (timm's keys) in one folder, README.md with metadata;
                   `hf upload OWNER/NAME FOLDER`, then `kt.models.create_model(..., weights="hf://OWNER/NAME")`
    Kaggle         model-metadata.json, and a folder for each format with its model-instance-metadata.json;
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
KAGGLE = {  # format: framework, suffix of the variation's name
    "keras": ("keras", ""),
    "saved_model": ("tensorFlow2", ""),
    "feature_vector": ("tensorFlow2", "-feature-vector"),
    "onnx": ("other", "-onnx"),
    "litert": ("tfLite", ""),
    "litert_int8": ("tfLite", "-int8"),
}
ORIGIN = ("recipe", "seed", "about", "versions", "epoch", "images", "weights")  # see `keras_tricks/run/provenance.py`
OWNER = "INSERT_OWNER_SLUG_HERE"  # the placeholder of Kaggle's templates


def hugging_face(folder, exported, card, license):
    """Adds weights and their description to an export folder. Returns the card with the metadata that the Hub reads.

    Args:
        folder: `pathlib.Path` of the exported formats.
        exported: `model_card.Exported`.
        card: Markdown text.
        license: identifier such as `"apache-2.0"`, or `""`.
    """
    weights = safetensors_io.weights_of(exported.network)
    safetensors_io.save(folder / "model.safetensors", weights, _origin(exported) | {"format": "keras_tricks"})
    data, size = exported.data, exported.data.test_size
    crops = {"center": (data.crop_pct, "center"), "squash": (size / (size + data.crop_padding), "squash"),
             "short_side": (size / data.short_side, "center"), "whole": (1.0, "squash")}
    crop_pct, crop_mode = crops[data.eval_crop]
    config = {
        "architecture": exported.name,
        "library": "keras_tricks",
        "num_classes": exported.network.output_shape[-1],
        "pretrained_cfg": {
            "input_size": [3, size, size], "interpolation": data.interpolation, "crop_pct": crop_pct,
            "crop_mode": crop_mode, "mean": [m / 255 for m in data.mean], "std": [s / 255 for s in data.std],
            "license": license,
        },
    }
    if exported.class_names:
        config["label_names"] = list(exported.class_names)
    _write(folder / "config.json", config)
    header = {"library_name": "keras", "pipeline_tag": "image-classification", "license": license or "other",
              "tags": ["keras_tricks", "image-classification", exported.name]}
    return f"---\n{''.join(_yaml(key, value) for key, value in header.items())}---\n{card}"


def _origin(exported):
    """What the checkpoint of a run records of its origin: recipe, data, versions, seed and epoch."""
    if exported.run_weights is None:
        return {}
    metadata = safetensors_io.read_metadata(exported.run_weights.path)
    return {key: metadata[key] for key in ORIGIN if key in metadata}


def kaggle(folder, exported, written, card, license, owner):
    """Moves each format into the folder of its variation and describes model and variations. Returns {format: path}.

    Args:
        folder, exported, card, license: as in `hugging_face`.
        written: {format: path} in `folder`.
        owner: name of the account; `""` keeps Kaggle's placeholder.
    """
    slug, variation = _slug(exported.name), _variation(exported)
    _write(folder / "model-metadata.json", {
        "ownerSlug": owner or OWNER, "title": exported.name, "slug": slug, "subtitle": "Image classification in Keras",
        "isPrivate": True, "description": card, "publishTime": "", "provenanceSources": ""})
    paths = {}
    for name, path in written.items():
        framework, suffix = KAGGLE[name]
        target = folder / framework / f"{variation}{suffix}"
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path.rename(target)
        else:
            target.mkdir()
            path.rename(target / path.name)
        _write(target / "model-instance-metadata.json", {
            "ownerSlug": owner or OWNER, "modelSlug": slug, "instanceSlug": target.name, "framework": framework,
            "overview": f"{exported.name}, {math.prod(exported.network.input_shape[1:3]):,} pixels", "usage": card,
            "licenseName": _kaggle_license(license), "fineTunable": name in ("keras", "saved_model", "feature_vector"),
            "trainingData": []})
        paths[name] = target
    return paths


def _kaggle_license(license):
    """Kaggle writes `Apache 2.0` where others write `apache-2.0`."""
    names = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-4.0": "Attribution 4.0 International (CC BY 4.0)",
             "cc-by-nc-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)"}
    return names.get(license, license or "Other")


def _variation(exported):
    if exported.recipe is not None:
        return _slug(exported.recipe.name.split("/")[-1])
    return _slug(re.sub(r"\.(safetensors|weights\.h5|keras)$", "", pathlib.Path(exported.weights).name))


def _slug(text):
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _yaml(key, value):
    if isinstance(value, list):
        return f"{key}:\n" + "".join(f"- {item}\n" for item in value)
    return f"{key}: {value}\n"


def _write(path, content):
    write_text(path, json.dumps(content, indent=2) + "\n")
