"""Lists the image files of folders. Opens no file, so a named pipe or a device with an image's name cannot block.

A file is an image if its suffix, in any case, is that of a format that Pillow reads, or if it has no suffix. Hidden
files (`.name`) are not listed. Every other file and folder that is not listed is counted in a `LeftOut`.
"""

import collections
import dataclasses
import errno
import hashlib
import os
import pathlib
import stat
import typing
from collections.abc import Iterator

from keras_tricks.data.sources.file_access import KINDS, SYSTEM_FOLDERS, is_folder, list_entries, retry, size_fault
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
# Every format of Pillow, except documents and data (.eps, .ps, .mpg, .wmf, .emf, .h5, .hdf, .fits, .grib, .bufr, .iim).
SUFFIXES = frozenset(JPEG_SUFFIXES + tuple(
    ".png .apng .bmp .dib .gif .webp .tif .tiff .avif .avifs .jp2 .j2k .jpc .jpf .jpx .j2c .pbm .pgm .ppm .pnm .pfm "
    ".ico .cur .icns .tga .icb .vda .vst .pcx .dcx .dds .sgi .rgb .rgba .bw .ras .qoi .psd .xbm .xpm .im .fli .flc "
    ".ftc .ftu .gbr .blp .msp .pcd .pxr".split()))
FORMATS = "JPEG, PNG, BMP, GIF, WebP, TIFF and other formats that Pillow reads, or files without a suffix"
SHOWN = 3  # names in a line
EMPTY, HIDDEN, SYSTEM = "an empty folder", "a hidden folder", "a folder of the operating system"
OWN = "a folder that keras-tricks wrote"
OWN_FILES = (("recipe.json", "env.json"), ("ablation.csv", "runs"), ("scaling.csv", "scaling.png"))  # run, studies
IGNORED = {EMPTY, HIDDEN, SYSTEM, OWN}
LOOSE, NAMED = "an image outside the class folders", " with an image's name"
DANGLING = "a link whose target does not exist"
NO_SUFFIX = "without suffix"


class LeftOut:
    """The files and folders that are not read, with the reason."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, list[str]] = {}
        self.suffixes: collections.Counter[str] = collections.Counter()

    def add(self, path: str, reason: str) -> None:
        """Counts a file or folder, and keeps the first names for each reason."""
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < SHOWN:
            examples.append(path)

    def update(self, other: "LeftOut") -> None:
        """Adds what another one has counted."""
        self.counts.update(other.counts)
        self.suffixes.update(other.suffixes)
        for reason, paths in other.examples.items():
            self.examples[reason] = (self.examples.get(reason, []) + paths)[:SHOWN]

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """(`"left out"`, count, `"a named pipe: a/x.jpg"`) for each reason, then the files that are not images."""
        for reason, count in self.counts.items():
            names = ", ".join(map(printable, self.examples[reason]))
            yield "left out", count, f"{reason}: {names}{', ...' if count > SHOWN else ''}"
        if self.suffixes:
            kinds = ", ".join(f"{count:,} {printable(suffix)}" for suffix, count in self.suffixes.most_common(5))
            yield "not read", self.suffixes.total(), f"files with other suffixes: {kinds}"


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a folder with one sub-folder per class.

    Attributes:
        root: the folder.
        classes: names of the sub-folders with images, sorted.
        files: for each class a list of paths, sorted.
        broken: {path: reason} of the listed files that cannot be read, as far as their names and links show.
        left_out: `LeftOut`.
        identity: sha256 of the names and sizes of all images. The same wherever the folder is.
    """

    root: pathlib.Path
    classes: tuple[str, ...]
    files: list[list[str]]
    broken: dict[str, str]
    left_out: LeftOut
    identity: str


def scan_classes(root: str | os.PathLike) -> Listing:
    """Lists the images of all sub-folders of `root`, each of which is a class.

    Raises:
        UserError: no sub-folder, one without images but with other files, one that cannot be listed, or a name that
            is not UTF-8.
    """
    left_out, digest, files, broken = LeftOut(), hashlib.sha256(), {}, {}
    for entry in list_entries(root):
        if not is_folder(entry):
            _count_loose_file(entry, left_out)
        elif not _is_ignored(entry, left_out) and (images := _list_class(entry, left_out)):
            files[entry.name] = [image.path for image in images]
            broken |= {image.path: image.reason for image in images if image.reason}
            digest.update(b"".join(_name_and_size(image, root) for image in images))
    if not files:
        loose, others = left_out.counts[LOOSE], [why for what, _, why in left_out.rows() if what == "not read"]
        what = f"has {loose:,} images but no class folder" if loose else "is empty"
        what = f"has no class folder, only {others[0]}" if others and not loose else what
        raise UserError(f"The data folder {printable(root)} {what}: expected one sub-folder per class, with images in "
                        "it.")
    return Listing(pathlib.Path(root), tuple(files), list(files.values()), broken, left_out, digest.hexdigest())


def _name_and_size(image, root):
    name = image.path[len(os.path.join(root, "")):].replace(os.sep, "/")
    return b"%s\0%d\n" % (os.fsencode(name), image.size)


def _list_class(entry, left_out):
    """The images of a class folder; none if it is empty."""
    if not _is_utf8(entry.name):
        raise UserError(f"The name of the class folder {printable(entry.path)} is not UTF-8: rename it.")
    own = LeftOut()
    images = list_images(entry.path, own)
    if not images and (own.suffixes or own.counts.keys() - IGNORED):
        held = "; ".join(f"{count:,} {what}: {why}" for what, count, why in own.rows())
        raise UserError(f"The class folder {printable(entry.path)} has no image ({FORMATS}): {held}. Add images or "
                        "remove the folder.")
    if not images:
        own.add(entry.path, EMPTY)
    left_out.update(own)
    return images


def _count_loose_file(entry, left_out):
    """Counts a file in the parent of the class folders."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith("."):
        return
    if entry.is_symlink() and not os.path.exists(entry.path):
        left_out.add(entry.path, DANGLING)
    elif suffix in SUFFIXES:
        left_out.add(entry.path, LOOSE)
    else:
        left_out.suffixes[suffix or NO_SUFFIX] += 1


class Image(typing.NamedTuple):
    """A listed file. `size` in bytes; `reason` why it cannot be read, or `""`; `key` identifies its content."""

    path: str
    size: int
    reason: str = ""
    key: tuple = ()
    is_link: bool = False


def list_images(folder: str | os.PathLike, left_out: LeftOut) -> list[Image]:
    """The images in a folder and its sub-folders, sorted by path. A file that several links lead to is listed once.

    Args:
        folder: folder.
        left_out: counts everything that is not listed.

    Raises:
        UserError: the folder or a sub-folder cannot be listed.
    """
    images, top, seen = [], os.path.realpath(folder), set()
    folders, linked = [os.fspath(folder)], []
    while folders or linked:  # linked folders last, so that a file is listed where it is
        current = folders.pop() if folders else linked.pop(0)
        real = os.path.realpath(current)
        if real in seen or top.startswith(os.path.join(real, "")):
            left_out.add(current, "a link to a folder that is read already or holds the link")
            continue
        seen.add(real)
        for entry in list_entries(current):
            found = _classify(entry, left_out)
            if isinstance(found, Image):
                images.append(found)
            elif found:
                (linked if entry.is_symlink() else folders).append(entry.path)
    if any(image.is_link for image in images):
        images = _without_repeats(images, left_out)
    return sorted(images)


def _classify(entry, left_out):
    """The `Image` of an entry, `True` for a folder to list, or `None` for what is left out."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith(".") or (suffix and suffix not in SUFFIXES):
        if is_folder(entry):
            return not _is_ignored(entry, left_out) or None
        if not entry.name.startswith("."):
            left_out.suffixes[suffix] += 1
        return None
    try:
        status = retry(entry.stat)
    except OSError as error:
        dangling = error.errno == errno.ENOENT and entry.is_symlink()
        return Image(entry.path, -1, DANGLING if dangling else error.strerror or str(error))
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        hard = status.st_nlink > 1 and status.st_ino
        reason = size_fault(status.st_size) if _is_utf8(entry.path) else "its name is not UTF-8: rename it"
        return Image(entry.path, status.st_size, reason, (status.st_dev, status.st_ino, bool(hard)),
                     bool(hard) or entry.is_symlink())
    if kind == stat.S_IFDIR and not suffix:
        return not _is_ignored(entry, left_out) or None
    left_out.add(entry.path, KINDS.get(kind, "not a regular file") + (NAMED if kind == stat.S_IFDIR else ""))
    return None


def _without_repeats(images, left_out):
    """The images without links to others of them."""
    groups = collections.defaultdict(list)
    for image in images:
        groups[image.key or image.path].append(image)
    kept = []
    for group in groups.values():
        known = set()
        for image in sorted(group, key=lambda image: (os.path.islink(image.path), image.path)):
            # The numbers of files are not unique on every network file system: without hard links, paths decide.
            target = os.path.realpath(image.path) if len(group) > 1 and not (image.key and image.key[2]) else None
            if target in known:
                left_out.add(image.path, "a link to an image that is read already")
                continue
            known.add(target)
            kept.append(image)
    return kept


def _is_ignored(folder, left_out):
    """Whether a folder is hidden, the system's, or a result of ours, whose plots are no examples. Counts it then."""
    reason = HIDDEN if folder.name.startswith(".") else SYSTEM if folder.name in SYSTEM_FOLDERS else None
    if not reason and any(all(os.path.exists(os.path.join(folder.path, n)) for n in names) for names in OWN_FILES):
        reason = OWN
    if reason:
        left_out.add(folder.path, reason)
    return bool(reason)


def _is_utf8(name):
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
