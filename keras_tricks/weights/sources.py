"""Sources of weights: a file, or a repository on the Hugging Face Hub.

    model.safetensors               a file, ours or timm's; a config.json in the same folder is also read
    timm/resnet50d.ra2_in1k         https://huggingface.co/timm/resnet50d.ra2_in1k, its model.safetensors
    timm/resnet50d.ra2_in1k@4f7...  the same at a revision: a commit, a tag or a branch
    hf://owner/name[@revision]      any other repository with a model.safetensors

Downloads need `pip install 'keras-tricks[hub]'`. `huggingface_hub` caches them and respects `HF_HOME`, `HF_TOKEN` and
`HF_HUB_OFFLINE=1`. A cached file is verified by its sha256 before it is read.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import zipfile
from typing import Any

from keras_tricks.utils import class_names
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Path

KINDS = (".safetensors", ".weights.h5", ".keras")
HUB_NAME = re.compile(r"(?:hf://(?P<owner>[\w.-]+)/|(?P<timm>timm)/)(?P<name>[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")


@dataclasses.dataclass(frozen=True)
class WeightInfo:
    """Training settings of weights, with timm's keys. Sizes are in pixels, `mean` and `std` on the 0-255 scale."""

    origin: str
    architecture: str
    num_classes: int
    image_size: int
    test_image_size: int
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple
    std: tuple
    license: str
    class_names: tuple = ()

    def data(self) -> dict[str, Any]:
        """The fields of a recipe's `data` section that reproduce the published evaluation of these weights."""
        size = self.test_image_size
        crop = {"eval_crop": "center", "crop_pct": self.crop_pct}
        if self.crop_mode == "squash":
            crop = {"eval_crop": "squash", "crop_padding": round(size / self.crop_pct) - size}
        known = self.interpolation in ("bilinear", "bicubic")
        return {**crop, "test_image_size": size, "interpolation": self.interpolation if known else "bicubic",
                "antialias": True, "mean": self.mean, "std": self.std}


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """An existing weight file: its path, the name the user gave, and its `WeightInfo` or `None`."""

    path: pathlib.Path
    name: str
    info: WeightInfo | None

    @property
    def class_names(self):
        """The names of its classes, in the order of the outputs, a tuple; empty if they are unknown.

        They are those of its config.json, of the run or export it is part of, or of its own metadata.
        """
        published = self.info.class_names if self.info else ()
        return tuple(published) or class_names.of_weights(self.path) or _names_inside(self.path)


def find(weights: Path) -> WeightFile:
    """Finds weights by path or name. Downloads weights of the Hub that are not in its cache.

    Args:
        weights: string or path; see the module docstring.

    Returns:
        A `WeightFile`.

    Raises:
        UserError: the file or repository does not exist, the kind of file is unknown or a pickle, the network is not
            available, or the download is damaged.
    """
    text, path = str(weights), pathlib.Path(weights)
    hub = HUB_NAME.fullmatch(text)
    if hub and not text.endswith(KINDS) and not path.exists():
        return _from_hub(text, f"{hub['owner'] or hub['timm']}/{hub['name']}", hub["revision"])
    if path.is_dir():
        raise UserError(f"`weights` {text!r} is a folder: pass a file in it that ends in {', '.join(KINDS)}.")
    if not path.name.endswith(KINDS):
        raise UserError(f"`weights` must be None, a file ending in {', '.join(KINDS)}, or a name such as "
                        f"timm/resnet50d.ra2_in1k. Received: {text!r}. Pickled checkpoints (.pt, .pth, .bin, .pkl) can "
                        "run code when opened and are not read: convert them to safetensors first.")
    if not path.is_file():
        raise UserError(f"The weight file {path} does not exist.")
    config = path.with_name("config.json")
    return WeightFile(path, path.name, _info(config, str(path)) if config.is_file() else None)


def _names_inside(path):
    """The class names in a weight file that a run or an export wrote, wherever it was moved; else empty.

    Checkpoints of 0.1.0 hold them as one text, which is divided if as many outputs as names are found.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return tuple(map(str, json.loads(archive.read(class_names.FILE))))
        if path.suffix != ".safetensors" or not path.is_file():
            return ()
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "classes" in metadata:
                return tuple(map(str, json.loads(metadata["classes"])))
            names = tuple(json.loads(metadata["about"])["set of classes"].split(", "))
            outputs = {file.get_slice(name).get_shape()[-1] for name in file.keys() if file.get_slice(name).get_shape()}
            return names if len(names) in outputs and len(set(names)) == len(names) else ()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            zipfile.BadZipFile):
        return ()  # loading reports a damaged file


def _from_hub(text, repository, revision):
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(f"`weights` {text!r} are on the Hugging Face Hub: pip install 'keras-tricks[hub]', or download "
                        "model.safetensors yourself and pass its path.") from error

    def fetch(file):
        return pathlib.Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))

    try:
        path = fetch("model.safetensors")
        try:
            config = fetch("config.json")
        except errors.EntryNotFoundError:
            config = None
    except errors.RepositoryNotFoundError:
        raise UserError(f"The repository {repository} does not exist on the Hugging Face Hub, or it is not public. "
                        f"https://huggingface.co/timm lists timm's. Received: {text!r}") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{repository} has no revision {revision!r} on the Hugging Face Hub.") from None
    except errors.LocalEntryNotFoundError:
        raise UserError(f"`weights` {text!r} are not in the cache, and the Hugging Face Hub cannot be reached (no "
                        "network, or HF_HUB_OFFLINE): download them elsewhere, or pass a path.") from None
    except errors.EntryNotFoundError:
        raise UserError(f"{repository} has no model.safetensors; other files are not read.") from None
    except (errors.HfHubHTTPError, OSError) as error:
        raise UserError(f"{repository} cannot be downloaded: {str(error).splitlines()[0]}") from None
    _check(path, text)
    return WeightFile(path, text, _info(config, f"https://huggingface.co/{repository}") if config else None)


def _check(path, name):
    """Verifies a cached file, which the cache names by its sha256."""
    blob = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
        with open(blob, "rb") as file:
            for block in iter(lambda: file.read(2**22), b""):
                digest.update(block)
        if digest.hexdigest() != blob.name:
            raise UserError(f"The cached file of {name} is damaged ({os.path.getsize(blob):,} bytes, another sha256): "
                            f"delete {blob} and load it again.")


def _info(config, origin):
    """`WeightInfo` from timm's config.json; `None` for any other file."""
    try:
        described = json.loads(config.read_text())
        cfg = described["pretrained_cfg"]
        image_size = int(cfg["input_size"][1])
        return WeightInfo(
            origin=origin, architecture=described["architecture"],
            num_classes=int(described.get("num_classes", cfg.get("num_classes"))), image_size=image_size,
            test_image_size=int(cfg.get("test_input_size", cfg["input_size"])[1]),
            crop_pct=float(cfg.get("test_crop_pct", cfg["crop_pct"])), crop_mode=cfg.get("crop_mode", "center"),
            interpolation=cfg["interpolation"], mean=tuple(255 * m for m in cfg["mean"]),
            std=tuple(255 * s for s in cfg["std"]), license=cfg.get("license", ""),
            class_names=tuple(described.get("label_names") or cfg.get("label_names") or ()),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
