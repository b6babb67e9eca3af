"""Wilson's interval of statsmodels 0.15.0.  Run: python tests/golden/make_statsmodels_wilson.py"""

import json
import pathlib

from statsmodels.stats.proportion import proportion_confint

CASES = [(0, 1), (1, 1), (1, 2), (8, 10), (0, 10), (10, 10), (37, 60), (570, 599), (9999, 10_000), (38_000, 50_000)]
rows = [{"correct": k, "images": n, "interval": [float(v) for v in proportion_confint(k, n, 0.05, "wilson")]}
        for k, n in CASES]
pathlib.Path(__file__).with_name("statsmodels_wilson.json").write_text(json.dumps(rows, indent=1) + "\n")
