"""ImageNet accuracies of timm's published results.  Run: python tests/golden/make_timm_results.py results-imagenet.csv

The file is results/results-imagenet.csv of huggingface/pytorch-image-models at commit
0173a139a2c66db3a41ebfe1d8ac4fb02483642e. Kept are the architectures of `ARCHITECTURES`, with their top-1 and top-5
accuracy in percent, millions of parameters and pixels.
"""

import csv
import json
import pathlib
import re
import sys

ARCHITECTURES = re.compile(r"resnet(18|34|50|101|152|200)[cd]?|resnetrs\d+|dm_nfnet_f\d|nf_resnet\d+|"
                           r"inception_resnet_v2|tf_efficientnet_b\d")

if __name__ == "__main__":
    found = {}
    with open(sys.argv[1], newline="") as file:
        for row in csv.DictReader(file):
            if ARCHITECTURES.fullmatch(row["model"].split(".")[0]):
                found[row["model"]] = [row[key] for key in ("top1", "top5", "param_count", "img_size")]
                assert abs(float(row["top1"]) + float(row["top1_err"]) - 100) < 1e-6, row
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(values)}" for name, values in sorted(found.items()))
    pathlib.Path(__file__).with_name("timm_results.json").write_text("{\n" + lines + "\n}\n")
