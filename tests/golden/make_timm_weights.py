"""The checkpoints of timm 1.0.31 that models of the zoo load.  Run: python tests/golden/make_timm_weights.py"""

import json
import pathlib

import timm
import torch

PATTERNS = ("dm_nfnet_f?", "inception_resnet_v2", "nf_resnet50", "resnet18", "resnet18d", "resnet34", "resnet34d",
            "resnet50", "resnet50c", "resnet50d", "resnet101", "resnet101c", "resnet101d", "resnet152", "resnet152c",
            "resnet152d", "resnet200d", "resnetrs*", "tf_efficientnet_b?")

rows = {}
for architecture in sorted({name for pattern in PATTERNS for name in timm.list_models(pattern)}):
    with torch.device("meta"):
        count = sum(p.numel() for p in timm.create_model(architecture).parameters())
    for name in timm.list_pretrained(f"{architecture}.*"):
        config = timm.get_pretrained_cfg(name)
        if config.num_classes == 1000:
            size = (config.test_input_size or config.input_size)[-1]
            rows[name] = [round(count / 1e6, 2), size, config.license or ""]
lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(rows.items()))
pathlib.Path(__file__).with_name("timm_weights.json").write_text(f"{{\n{lines}\n}}\n")
