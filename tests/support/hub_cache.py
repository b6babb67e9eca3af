"""Builds a cache of the Hugging Face Hub, and weights under timm's names."""

import hashlib
import json

import numpy as np
from safetensors.numpy import save

from keras_tricks.weights.timm_names import timm_name


def in_timms_names(model):
    paths = {v.path for v in model.variables if v.name != "seed_generator_state"}
    return {timm_name(p, paths): np.ascontiguousarray(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T)
            for p, a in ((v.path, v.numpy()) for v in model.variables if v.path in paths)}


def put(cache, name, tensors, config, revision="main"):
    """Writes a repository in the layout of huggingface_hub; `refs/<revision>` is its commit. Returns its folder."""
    repository, commit = cache / f"models--{name.replace('/', '--')}", "a" * 40
    content = {"model.safetensors": tensors if isinstance(tensors, bytes) else save(tensors),
               "config.json": json.dumps(config).encode()}
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    for ref in {"main", revision}:
        (repository / "refs" / ref).write_text(commit)
    for name, data in content.items():
        digest = hashlib.sha256(data).hexdigest() if name.endswith("safetensors") else hashlib.sha1(data).hexdigest()
        (repository / "blobs" / digest).write_bytes(data)
        (repository / "snapshots" / commit / name).symlink_to(repository / "blobs" / digest)
    return repository
