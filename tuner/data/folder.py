"""A folder of images with one folder a class, as `keras.utils.image_dataset_from_directory` reads.

Every file is decoded once: images that were read are kept in the person's cache folder, for the
workers of this run and for the runs to come.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from tuner.data.arrays import NAMES, Arrays
from tuner.data.dataset import DatasetInfo, LabelledImages, Progress
from tuner.data.files import cache_dir, whole_or_not_at_all
from tuner.data.own import OwnDataset, find_path, read_npz, require_memory
from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

ImageSize: TypeAlias = tuple[int, int]
"""Height and width."""

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG")
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes
_HELD_OUT = ("val", "valid", "validation")

_VERSION = 1  # another one for every change of a pixel
_MAX_NAMED = 10  # files of a message
_BLOCK = 32  # files that a thread takes at a time
_MAX_CACHE_BYTES = 8 << 30
_UNTOLD_SECONDS = 1.0  # what is done sooner needs no word
_TICK_NANOSECONDS = 50_000_000  # a clock of files may be as coarse

T = TypeVar("T")


@dataclass(frozen=True)
class FolderDataset(OwnDataset):
    """`path/`, with one folder of PNG, JPEG, BMP and GIF files a class, or train/ and test/.

    Classes are numbered in the sorted order of their names; folders below a class belong to it, and
    hidden files to none. All images are of one size, or brought to `image_size` (bilinear, as Keras
    does it by default). They have one channel if all are grey, and else three.
    """

    adding_test: ClassVar[str] = "put folders train/ and test/ there, with a folder for each class"

    image_size: ImageSize | None = None

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing can be downloaded; raises InputError when the folder is not there."""
        find_path(self.name, data_dir, is_folder=True)

    def read(
        self, data_dir: Path | None, progress: Progress | None = None
    ) -> tuple[Arrays, DatasetInfo]:
        """All images: from the cache, or else decoded in several threads."""
        listing = list_images(find_path(self.name, data_dir, is_folder=True))
        cache = _Cache(listing, self.image_size)
        known = cache.read()
        if known is None:
            arrays, fingerprint = _decode(listing, self.image_size, progress)
            cache.write(arrays, fingerprint)
        else:
            arrays, fingerprint = known
        return arrays, arrays.info(fingerprint, str(listing.root), listing.notes)

    def paths_of_test(self, data_dir: Path | None) -> tuple[str, ...]:
        """Their paths below the folder."""
        listing = list_images(find_path(self.name, data_dir, is_folder=True))
        return tuple(file.path for file in listing.test)


# ---------------------------------------------------------------------- which files there are


@dataclass(frozen=True)
class ImageFile:
    """A file with its class; `stamp` changes when its content does."""

    path: str  # below the root of the listing
    label: int
    stamp: tuple[int, ...]


@dataclass(frozen=True)
class Listing:
    """Image files in the order of their classes and names."""

    root: Path
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """Of both parts."""
        return self.train + self.test


def list_images(root: Path) -> Listing:
    """The images of a folder, without looking into one.

    Raises InputError where there are none, or too few classes.
    """
    folders = _folders(root)
    is_parted = "train" in folders and _folders(root / "train") and not _files(root / "train")[0]
    train_root = root / "train" if is_parted else root
    names = _folders(train_root)
    others: list[str] = []
    train = [_class_files(root, train_root / n, label, others) for label, n in enumerate(names)]
    _require_classes(train_root, dict(zip(names, map(len, train), strict=True)))
    test = []
    if is_parted and "test" in folders:
        in_test = _folders(root / "test")
        _require_known(root / "test", in_test, names)
        test = [_class_files(root, root / "test" / n, names.index(n), others) for n in in_test]
    beside = _files(train_root)
    others += beside[1] + beside[0]
    return Listing(
        root,
        tuple(names),
        tuple(file for files in train for file in files),
        tuple(file for files in test for file in files),
        tuple(_notes(others, [n for n in folders if is_parted and n not in ("train", "test")])),
    )


def _folders(root: Path) -> list[str]:
    with _readable(root), os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of images that lie in the folder itself, and of other files, but for hidden ones."""
    with _readable(folder), os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_file() and not e.name.startswith(".")]
    images = sorted(name for name in names if name.lower().endswith(ENDINGS))
    return images, sorted(set(names) - set(images))


@contextlib.contextmanager
def _readable(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason, mend = error.strerror or str(error), "check its permissions"
        raise InputError(
            Problem("folder cannot be read", str(folder), reason, mend=mend)
        ) from error


def _class_files(root: Path, folder: Path, label: int, others: list[str]) -> list[ImageFile]:
    """The images below a folder, with what else lies there noted in `others`."""
    found = []
    for place, _, names in sorted(os.walk(folder), key=lambda walked: walked[0]):
        inside = os.path.relpath(place, folder).split(os.sep)
        if any(part.startswith(".") and part != os.curdir for part in inside):
            continue  # thumbnails and copies that programs have left
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.startswith("."):
                continue
            if not name.lower().endswith(ENDINGS):
                others.append(path)
                continue
            with _readable(path):
                stat = os.stat(path)
            stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            found.append(ImageFile(os.path.relpath(path, root), label, stamp))
    return found


def _require_classes(root: Path, counts: dict[str, int]) -> None:
    empty = [name for name, count in counts.items() if not count]
    if len(counts) > 1 and not empty:
        return
    expected = (
        "two folders or more, one a class, with .png, .jpg, .jpeg, .bmp or .gif files in them"
    )
    received, mend = "no folders in it", ""
    if empty:
        received, mend = f"no images in {', '.join(empty[:_MAX_NAMED])}", "remove empty folders"
    elif counts:
        received = f"one folder, {next(iter(counts))}"
        inner = root / next(iter(counts))
        mend = f"dataset: {inner}" if len(_folders(inner)) > 1 else ""
    raise InputError(Problem("no folder of images", str(root), received, expected, mend))


def _require_known(root: Path, names: Sequence[str], trained: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in trained]:
        what, received = "test images of a class that is never trained", ", ".join(unknown[:5])
        expected = ", ".join(trained[:_MAX_NAMED])
        raise InputError(Problem(what, str(root), received, expected))


def _notes(others: Sequence[str], folders: Sequence[str]) -> Iterator[str]:
    if others:
        kinds = sorted({os.path.splitext(name)[1].lower() or "without ending" for name in others})
        some = ", ".join(kinds[:5])
        yield f"{len(others):,} files that are no images of a class are not read ({some})"
    for name in folders:
        why = ": images are held out of train/ (data.validation)" if name in _HELD_OUT else ""
        yield f"the folder {name}/ is not read{why}"


# ---------------------------------------------------------------------- what is in them


@dataclass(frozen=True)
class _Header:
    """What a file says of itself, its SHA-256, and in `broken` why it is no image."""

    size: ImageSize = (0, 0)
    is_grey: bool = True
    digest: bytes = b""
    broken: str = ""


def _decode(
    listing: Listing, image_size: ImageSize | None, progress: Progress | None
) -> tuple[Arrays, str]:
    """The images, and a fingerprint of their files' content.

    Raises InputError with all files that cannot be read, or two that differ in size.
    """
    import numpy as np

    root, files = listing.root, listing.files
    _require_memory(root, (len(files), *(image_size or (1, 1)), 1))
    told = _Told(files, progress)
    headers = _in_threads(partial(_header, root), files, partial(told, "looking at the images"))
    if any(header.broken for header in headers):
        _raise_broken(root, files, headers)
    size = image_size or _common_size(files, headers)
    shape = (len(files), *size, 1 if all(header.is_grey for header in headers) else 3)
    _require_memory(root, shape)
    images = np.empty(shape, np.uint8)
    failed: list[str] = [""] * len(files)

    def fill(place: int) -> None:
        try:
            images[place] = _pixels(root / files[place].path, shape[1:])
        except Exception as error:  # a damaged file makes Pillow raise anything
            failed[place] = _reason(error)

    _in_threads(fill, range(len(files)), partial(told, "decoding the images"))
    if any(failed):
        _raise_broken(root, files, [_Header(broken=reason) for reason in failed])
    labels = np.array([file.label for file in files], np.int32)
    count = len(listing.train)
    test = LabelledImages(images[count:], labels[count:]) if listing.test else None
    train = LabelledImages(images[:count], labels[:count])
    return Arrays(train, test, class_names=listing.class_names), _fingerprint(listing, headers)


def _require_memory(root: Path, shape: tuple[int, ...]) -> None:
    mend = "a smaller data.image_size, or fewer images"
    require_memory(math.prod(shape), "the images do not fit into memory", str(root), mend)


def _header(root: Path, file: ImageFile) -> _Header:
    try:
        content = (root / file.path).read_bytes()
        with _opened(content) as image:
            width, height = image.size
            return _Header((height, width), image.mode in _GREY, hashlib.sha256(content).digest())
    except Exception as error:  # a damaged file makes Pillow raise anything
        return _Header(broken=_reason(error))


def _opened(content: bytes) -> Image:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(content), formats=_FORMATS)


def _pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The first picture of a file, as it lies there: EXIF turns nothing, and alpha is left out."""
    import numpy as np

    with _opened(path.read_bytes()) as image:
        if image.mode.startswith("I"):  # 16 bits, of which Keras takes the upper half
            pixels = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
            pixels = np.repeat(pixels[..., np.newaxis], shape[-1], axis=-1)
        elif shape[-1] == 1:
            pixels = np.asarray(image.convert("L"))[..., np.newaxis]
        else:
            # Pillow warns of palettes with transparency unless they come by way of RGBA.
            coloured = image.convert("RGBA") if image.mode == "P" else image
            pixels = np.asarray(coloured.convert("RGB"))
    return pixels if pixels.shape == shape else resized(pixels, shape[:2])


def resized(image: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bilinear between the centres of pixels, without smoothing: as Keras resizes by default."""
    import numpy as np

    mixed = image.astype(np.float32)
    for axis in (0, 1):
        length = mixed.shape[axis]
        place = (np.arange(size[axis]) + 0.5) * length / size[axis] - 0.5
        below = np.floor(place).astype(int)
        share = (place - below).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        low = mixed.take(below.clip(0, length - 1), axis)
        high = mixed.take((below + 1).clip(0, length - 1), axis)
        mixed = low + (high - low) * share
    return np.rint(mixed).astype(np.uint8)


class _Told:
    """Says how far a reading is, once it has taken so long that a person would wonder."""

    def __init__(self, files: Sequence[ImageFile], progress: Progress | None) -> None:
        self._done = [0, *itertools.accumulate(file.stamp[0] for file in files)]
        self._progress = progress
        self._from = time.monotonic() + _UNTOLD_SECONDS

    def __call__(self, what: str, num_files: int) -> None:
        """So many files are done."""
        if self._progress is not None and time.monotonic() >= self._from:
            self._progress(what, self._done[num_files], self._done[-1])


def _in_threads(
    work: Callable[[Any], T], items: Sequence[Any], on_done: Callable[[int], None]
) -> list[T]:
    """The results in their order; Pillow decodes without Python's lock."""
    from concurrent.futures import ThreadPoolExecutor

    def block(start: int) -> list[T]:
        return [work(item) for item in items[start : start + _BLOCK]]

    executor = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        results: list[T] = []
        for part in executor.map(block, range(0, len(items), _BLOCK)):
            results += part
            on_done(len(results))
    finally:  # an interrupt does not wait for all the rest
        executor.shutdown(wait=False, cancel_futures=True)
    return results


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG, BMP or GIF image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def _raise_broken(root: Path, files: Sequence[ImageFile], headers: Sequence[_Header]) -> None:
    """With those that only show when they are decoded."""
    reasons = {f.path: header.broken for f, header in zip(files, headers, strict=True)}
    for path, reason in reasons.items():
        if not reason:
            try:
                with _opened((root / path).read_bytes()) as image:
                    image.load()
            except Exception as error:
                reasons[path] = _reason(error)
    broken = [f"{path}: {reason}" for path, reason in reasons.items() if reason]
    more = f"; and {len(broken) - _MAX_NAMED:,} more" if len(broken) > _MAX_NAMED else ""
    what = "a file that is no image" if len(broken) == 1 else f"{len(broken):,} files are no images"
    raise InputError(
        Problem(
            what,
            where=str(root),
            received="; ".join(broken[:_MAX_NAMED]) + more,
            expected="PNG, JPEG, BMP and GIF files that are whole",
            mend="replace them, or take them out of the folder",
        )
    )


def _common_size(files: Sequence[ImageFile], headers: Sequence[_Header]) -> ImageSize:
    sizes = {header.size: file.path for file, header in zip(files, headers, strict=True)}
    if len(sizes) == 1:
        return next(iter(sizes))
    (one, path), (other, other_path) = sorted(sizes.items())[:: len(sizes) - 1]
    smallest = min(min(size) for size in sizes)
    raise InputError(
        Problem(
            "the images are of different sizes",
            where="data.image_size",
            received=f"{path} of {_by(one)}; {other_path} of {_by(other)} (height x width)",
            expected="images of one size, or the size to which they are resized",
            mend=f"image_size: {smallest}, or [height, width]",
        )
    )


def _by(size: ImageSize) -> str:
    return f"{size[0]}x{size[1]}"


def _fingerprint(listing: Listing, headers: Sequence[_Header]) -> str:
    """Of classes, order and content; files may move and be renamed in their order."""
    digest = hashlib.sha256(json.dumps([listing.class_names, len(listing.train)]).encode())
    for file, header in zip(listing.files, headers, strict=True):
        digest.update(f"{file.label}:".encode() + header.digest)
    return f"folder:{_VERSION}:sha256:{digest.hexdigest()}"


# ---------------------------------------------------------------------- the cache


class _Cache:
    """Decoded images of a listing, under a name that says its files' names, sizes and times.

    What cannot be written is no error: then every process decodes for itself.
    """

    def __init__(self, listing: Listing, image_size: ImageSize | None) -> None:
        import PIL

        self._listing = listing
        self._folder = cache_dir(os.environ) / "images"
        files = [(file.path, file.label, file.stamp) for file in listing.files]
        content = [_VERSION, PIL.__version__, image_size, len(listing.train), files]
        root = hashlib.sha256(os.fsencode(listing.root)).hexdigest()[:16]
        name = hashlib.sha256(json.dumps([listing.class_names, content]).encode()).hexdigest()
        self._path = self._folder / f"{root}-{name[:32]}.npz"

    def read(self) -> tuple[Arrays, str] | None:
        """What was written; None if there is nothing, or nothing whole."""
        if not self._path.is_file():
            return None
        try:
            named = read_npz(self._path, (*NAMES, "fingerprint"))
            with contextlib.suppress(OSError):
                os.utime(self._path)  # the one not used for longest goes first
            parts = [LabelledImages(named[f"x_{p}"], named[f"y_{p}"]) for p in self._parts]
            fingerprint = str(named["fingerprint"])
        except (InputError, OSError, KeyError):
            return None
        test = parts[1] if len(parts) > 1 else None
        return Arrays(parts[0], test, class_names=self._listing.class_names), fingerprint

    @property
    def _parts(self) -> tuple[str, ...]:
        return ("train", "test") if self._listing.test else ("train",)

    def write(self, arrays: Arrays, fingerprint: str) -> None:
        """Keep the images, unless files are so new that their times may hide another change."""
        import numpy as np

        newest = max(max(file.stamp[1:3]) for file in self._listing.files)
        if newest > time.time_ns() - _TICK_NANOSECONDS:
            return
        parts = [part for part in (arrays.train, arrays.test) if part]
        num_bytes = sum(part.images.nbytes + part.labels.nbytes for part in parts)
        named: dict[str, Any] = {"fingerprint": np.array(fingerprint)}
        for name, part in zip(self._parts, parts, strict=True):
            named |= {f"x_{name}": part.images, f"y_{name}": part.labels}
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._make_room(num_bytes):
                return
            with whole_or_not_at_all(self._path) as file:
                np.savez(file, **named)

    def _make_room(self, num_bytes: int) -> bool:
        """Remove what this folder was before, and the oldest of others; whether that is enough."""
        entries = sorted(self._folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        root = self._path.name.partition("-")[0]
        sizes = {path: path.stat().st_size for path in entries}
        mine = [path for path in entries if path.name.startswith(root)]
        for path in [*mine[:-1], *(path for path in entries if path not in mine)]:
            if path not in mine and sum(sizes.values()) + num_bytes <= _MAX_CACHE_BYTES:
                break
            path.unlink(missing_ok=True)
            del sizes[path]
        return num_bytes < min(_MAX_CACHE_BYTES, shutil.disk_usage(self._folder).free // 2)
