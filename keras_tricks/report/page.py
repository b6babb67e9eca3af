"""The page of a report: HTML text with inline styles and images, without scripts."""

import html
import string

from keras_tricks.report import sections
from keras_tricks.utils.text import printable

STYLE = """
:root { color-scheme: light; --line: #d9d9de; --soft: #666; --accent: #b3202c; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 16px; background: #fff; color: #1b1b1f;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: .3em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2em 0 .6em; padding-top: .6em; border-top: 1px solid var(--line); }
p, li { max-width: 75ch; overflow-wrap: anywhere; }
.soft, figcaption, .legend { color: var(--soft); font-size: .86rem; }
nav a { margin-right: .9em; white-space: nowrap; }
a { color: #1f5fa8; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px; margin: 14px 0; }
.tiles div { border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
.tiles b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.note { border-left: 4px solid var(--accent); background: #fbf1f1; padding: 8px 12px; margin: 12px 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 18px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: #555; } .grid { stroke: #e6e6ea; stroke-width: 1; }
.legend span { margin-right: 1em; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .35em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: 3px 8px; text-align: left; border-bottom: 1px solid #eee; vertical-align: middle; }
td.n, th.n { text-align: right; white-space: nowrap; }
.name { max-width: 38vw; overflow-wrap: break-word; } .bars { width: 38%; }
table.wide { width: 100%; }
.bar { position: relative; height: 12px; min-width: 70px; background: #f0f0f3; border-radius: 3px; }
.bar i { position: absolute; top: 4px; height: 4px; background: #9db9da; }
.bar b { position: absolute; top: 0; width: 3px; height: 12px; background: #1f5fa8; }
table.matrix td { text-align: center; min-width: 2.2em; border: 1px solid #fff; }
table.matrix th { font-weight: normal; font-size: .8rem; max-width: 9em; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
table.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9em; padding: 8px 3px; }
img.heat { width: min(100%, 520px); image-rendering: pixelated; border: 1px solid var(--line); display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 12px 10px; }
.gallery div { font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere; }
.gallery img, .gallery .none { width: 100%; aspect-ratio: 1; object-fit: contain; background: #f4f4f6; display: block;
  image-rendering: auto; border-radius: 4px; }
.gallery img.tiny { image-rendering: pixelated; }
.wrong { color: var(--accent); }
pre { overflow-x: auto; background: #f6f6f8; padding: 10px; font-size: .82rem; max-height: 28em; }
details summary { cursor: pointer; }
@media (max-width: 480px) {
  body { padding: 12px; font-size: 14px; }
  table { font-size: .82rem; } th, td { padding: 3px 4px; } .bars { width: 18%; } .bar { min-width: 40px; }
  table.matrix td { min-width: 1.7em; padding: 3px 1px; } table.matrix tbody th { max-width: 5.5em; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(86px, 1fr)); gap: 10px 8px; }
}
"""

PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")

SECTIONS = (
    ("curves", "Curves", sections.curves),
    ("classes", "Accuracy of each class", sections.classes),
    ("confusion", "Confusion", sections.confusion),
    ("calibration", "Calibration", sections.calibration),
    ("mistakes", "Most confident mistakes", sections.mistakes),
    ("uncertain", "Least confident images", sections.uncertain),
    ("suspicious", "Suspicious labels", sections.suspicious),
    ("training", "Training images as the network sees them", sections.training_images),
    ("rejected", "Rejected images", sections.rejected),
    ("speed", "Throughput", sections.speed),
    ("recipe", "Recipe and environment", sections.recipe),
)


def page(found, path):
    """The HTML text of a report.

    Args:
        found: `Collected`.
        path: `pathlib.Path` to which it will be written, for links to the tables.
    """
    parts = [(name, title, section(found)) for name, title, section in SECTIONS]
    parts = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{name}">{title}</a> ' for name, title, _ in parts)
    body = [sections.head(found), f"<nav>{links}</nav>"]
    body += [f'<h2 id="{name}">{title}</h2>\n{text}' for name, title, text in parts]
    body.append(sections.files(found, path))
    title = f"{printable(found.kept.folder.name)}: report"
    return PAGE.substitute(title=html.escape(title), style=STYLE, body="\n".join(body))
