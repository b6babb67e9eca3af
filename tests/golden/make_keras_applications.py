"""Accuracies of keras.applications' published table.  Run: python tests/golden/make_keras_applications.py index.md

The file is templates/api/applications/index.md of keras-team/keras-io at commit
01b6d6c4c4ef2c7975be4c42ac148db57352d978, the source of https://keras.io/api/applications. Kept are top-1 and top-5
accuracy and parameters of the networks that the zoo has.
"""

import json
import pathlib
import re
import sys

NETWORKS = ("ResNet50", "ResNet101", "ResNet152", "InceptionResNetV2")
ROW = re.compile(r"\| \[(\w+)\]\([^)]*\) \| [^|]* \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|")

if __name__ == "__main__":
    rows = ROW.findall(pathlib.Path(sys.argv[1]).read_text())
    found = {name: [top1, top5, int(count.replace(",", ""))] for name, top1, top5, count in rows if name in NETWORKS}
    assert len(found) == len(NETWORKS)
    pathlib.Path(__file__).with_name("keras_applications.json").write_text(json.dumps(found, indent=1) + "\n")
