"""Replaces the part of a page that a benchmark makes. The rest of the page is never touched."""

import pathlib


def replace_section(path, name, content):
    """Puts `content` between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a file.

    Raises:
        SystemExit: the file lacks one of the lines, has one of them twice, or has them in the wrong order.
    """
    path = pathlib.Path(path)
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed or text.count(begin) + text.count(end) != 2:
        raise SystemExit(f"{path} must have the lines {begin.strip()} and {end.strip()} once each, in this order.")
    path.write_text(f"{before}{begin}\n{content.strip()}\n\n{end}{after}", encoding="utf-8")
