"""Ways to break a recording; each says what of it may be relied on afterwards."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import tiff_mutations
from .kind import Seed

ENDINGS = (".tif", ".tiff", ".npy", ".raw", ".dat", ".sif", ".h5", ".nwb", ".zarr", ".bin", "")


@dataclass
class Broken:
    """A recording that was broken.

    Attributes
    ----------
    files : dict of str to bytes
        As they are now.
    source : list of str
        What to open.
    done : list of str
        What was done, for people.
    place : list of callable (Path)
        What to do in the folder when the files are written: links, modes, folders.
    cut, extended : bool
        Some file has become shorter, or longer, and is else as it was.
    rearranged : bool
        Files were added, removed, exchanged or renamed.
    during : str
        What happens while it is read: "", "shrinks", "short reads".
    """

    files: dict[str, bytes]
    source: list[str]
    done: list[str] = field(default_factory=list)
    place: list[Callable[[Path], None]] = field(default_factory=list)
    cut: bool = False
    extended: bool = False
    rearranged: bool = False
    during: str = ""


Random = np.random.Generator
Mutation = Callable[[Broken, Seed, Random], bool]


def broken(seed: Seed, random: Random) -> Broken:
    """Break a recording in one way, sometimes in several."""
    made = Broken(dict(seed.files), list(seed.source))
    wanted = 1 if random.random() < 0.75 else int(random.integers(2, 5))
    names, weights = list(MUTATIONS), np.array([w for w, _ in MUTATIONS.values()], float)
    for _ in range(100):  # what was done before may leave nothing for the next
        if len(made.done) == wanted:
            break
        name = names[int(random.choice(len(names), p=weights / weights.sum()))]
        before = len(made.done)
        if MUTATIONS[name][1](made, seed, random) and len(made.done) == before:
            made.done.append(name)
    return made


def _some_file(made: Broken, random: Random) -> str | None:
    names = [name for name, data in sorted(made.files.items()) if data]
    return None if not names else names[int(random.integers(len(names)))]


def _place(made: Broken, seed: Seed, random: Random, name: str) -> int:
    """Choose an offset in a file, mostly where it holds no pixels."""
    size = len(made.files[name])
    others = seed.others.get(name)
    if others is not None and others.size and random.random() < 0.7:
        at = int(others[int(random.integers(others.size))])
        if at < size:
            return at
    return int(random.integers(size))


def _edit(change: Callable[[bytearray, int, Random], None]) -> Mutation:
    """Change bytes at some place of some file."""

    def mutate(made: Broken, seed: Seed, random: Random) -> bool:
        name = _some_file(made, random)
        if name is None:
            return False
        data = bytearray(made.files[name])
        size = len(data)
        change(data, _place(made, seed, random, name), random)
        made.rearranged |= len(data) != size
        made.files[name] = bytes(data)
        made.done.append(f"{_NAMES[change]} in {name}")
        return True

    return mutate


def _flip_bit(data: bytearray, at: int, random: Random) -> None:
    data[at] ^= 1 << int(random.integers(8))


def _flip_bits(data: bytearray, at: int, random: Random) -> None:
    for _ in range(int(random.integers(2, 60))):
        near = min(len(data) - 1, at + int(random.integers(200)))
        data[near] ^= 1 << int(random.integers(8))


def _length(random: Random) -> int:
    return int(random.choice([1, 2, 4, 8, 16, 100, 1000, 5000]))


def _zero(data: bytearray, at: int, random: Random) -> None:
    end = min(len(data), at + _length(random))
    data[at:end] = bytes(end - at)


def _ones(data: bytearray, at: int, random: Random) -> None:
    end = min(len(data), at + _length(random))
    data[at:end] = b"\xff" * (end - at)


def _noise(data: bytearray, at: int, random: Random) -> None:
    end = min(len(data), at + _length(random))
    data[at:end] = random.bytes(end - at)


def _swap(data: bytearray, at: int, random: Random) -> None:
    length = min(_length(random), len(data) // 2)
    a, b = sorted((min(at, len(data) - length), int(random.integers(len(data) - length + 1))))
    if length and a + length <= b:
        data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


def _copy(data: bytearray, at: int, random: Random) -> None:
    length = min(_length(random), len(data) - at)
    source = int(random.integers(len(data) - length + 1))
    data[at : at + length] = data[source : source + length]


def _insert(data: bytearray, at: int, random: Random) -> None:
    source = int(random.integers(len(data)))
    data[at:at] = data[source : source + _length(random)]


def _delete(data: bytearray, at: int, random: Random) -> None:
    del data[at : at + _length(random)]


def absurd(size: int, random: Random) -> int:
    """Return a number that a field of a header should not have."""
    number = random.choice(
        np.array([0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
                  2**62, 2**63 - 1, 2**63, 2**64 - 1, size - 1, size, size + 1, size // 2,
                  10**6, 10**9, 10**12], dtype=object)
    )  # fmt: skip
    return max(0, int(number))


def _number(data: bytearray, at: int, random: Random) -> None:
    width = int(random.choice([2, 4, 8]))
    at = min(at - at % 2, max(0, len(data) - width))
    value = absurd(len(data), random) % (1 << 8 * width)
    order = "little" if random.random() < 0.7 else "big"
    data[at : at + width] = value.to_bytes(width, order)[: len(data) - at]


def _text(made: Broken, seed: Seed, random: Random) -> bool:
    """Replace a number, word or punctuation of a text (JSON, XML, headers)."""
    name = _some_file(made, random)
    if name is None:
        return False
    data = made.files[name]
    pattern = rb"-?\d+(?:\.\d+)?" if random.random() < 0.7 else rb'[a-zA-Z_]{2,}|[{}\[\]:,"<>=]'
    found = [m.span() for m in re.finditer(pattern, data[:20_000])]
    known = seed.pixels.get(name)
    if known is not None:
        found = [s for s in found if s[1] <= known.size and not known[s[0] : s[1]].any()]
    if not found:
        return False
    begin, end = found[int(random.integers(len(found)))]
    words = [b"", b"0", b"-1", b"1", b"null", b"NaN", b"1e999", b'"x"', b"[]", b"true", b"-0.0"]
    words += [b"\xff\xfe", b"[" * 3000, b"9" * 5000, str(absurd(len(data), random)).encode()]
    word = words[int(random.integers(len(words)))] if random.random() < 0.6 else words[-1]
    if seed.pieces and known is not None and known.any():  # offsets behind it must not move
        word = word[: end - begin].ljust(end - begin)
    made.rearranged |= len(word) != end - begin
    made.files[name] = data[:begin] + word + data[end:]
    made.done.append(f"{data[begin:end]!r} at {begin} of {name} replaced by {word[:40]!r}")
    return True


def _cut(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    size = len(made.files[name])
    edges = [p.end for p in seed.pieces if p.file == name] or [size]
    near = int(random.choice(edges)) + int(random.integers(-2, 3))
    to = near if random.random() < 0.4 else int(random.integers(size))
    to = min(max(0, to), size - 1)
    made.files[name] = made.files[name][:to]
    made.cut = True
    made.done.append(f"{name} cut to {to} of {size} bytes")
    return True


def _extend(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    frame = seed.frames[0].nbytes
    length = int(random.choice([1, 2, 100, frame - 1, frame, frame + 1, 3 * frame]))
    tail = bytes(length) if random.random() < 0.5 else random.bytes(length)
    made.files[name] += tail
    made.extended = True
    made.done.append(f"{name} extended by {length} bytes")
    return True


def _tiff(made: Broken, seed: Seed, random: Random) -> bool:
    names = [n for n in sorted(made.files) if made.files[n][:2] in (b"II", b"MM")]
    if not names:
        return False
    name = names[int(random.integers(len(names)))]
    data = bytearray(made.files[name])
    done = tiff_mutations.change(data, random)
    if done is None:
        return False
    made.files[name] = bytes(data)
    made.done.append(f"{done} in {name}")
    return True


# Files and folders


def _rename(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    stem = os.path.splitext(name)[0]
    new = stem + ENDINGS[int(random.integers(len(ENDINGS)))]
    if new in made.files:
        return False
    made.files[new] = made.files.pop(name)
    made.source = [new if s == name else s for s in made.source]
    made.rearranged = True
    made.done.append(f"{name} renamed to {new}")
    return True


def _remove(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    del made.files[name]
    made.rearranged = True
    made.done.append(f"{name} removed")
    return True


def _empty(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    made.files[name] = b""
    made.cut = True
    made.done.append(f"{name} emptied")
    return True


def _add(made: Broken, seed: Seed, random: Random) -> bool:
    name = _some_file(made, random)
    if name is None:
        return False
    stem, ending = os.path.splitext(name)
    ending = ending if random.random() < 0.6 else ENDINGS[int(random.integers(len(ENDINGS)))]
    new = re.sub(r"\d", "7", stem) + str(random.choice(["", "7", "-copy", " ", "é", "'"])) + ending
    if new in made.files:
        return False
    content = [b"", made.files[name], made.files[name][:100], b"{}", random.bytes(300)]
    made.files[new] = content[int(random.integers(len(content)))]
    made.rearranged = True
    made.done.append(f"{new!r} of {len(made.files[new])} bytes added")
    return True


def _exchange(made: Broken, seed: Seed, random: Random) -> bool:
    a, b = _some_file(made, random), _some_file(made, random)
    if a is None or b is None or a == b:
        return False
    made.files[a], made.files[b] = made.files[b], made.files[a]
    made.rearranged = True
    made.done.append(f"{a} and {b} exchanged")
    return True


def _instead(what: str) -> Mutation:
    """Put something that is no file in the place of one."""

    def mutate(made: Broken, seed: Seed, random: Random) -> bool:
        name = _some_file(made, random)
        if name is None or (what == "no rights" and os.geteuid() == 0):
            return False
        content = made.files.pop(name)

        def put(folder: Path) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if what == "a folder":
                path.mkdir(exist_ok=True)
            elif what == "a link to itself":
                path.symlink_to(path.name)
            elif what == "a link to nothing":
                path.symlink_to("nothing")
            elif what == "a link to the folder":
                path.symlink_to(".")
            elif what == "a named pipe":
                os.mkfifo(path)
            else:
                path.write_bytes(content)
                path.chmod(0)

        made.place.append(put)
        made.rearranged = True
        made.done.append(f"{what} instead of {name}")
        return True

    return mutate


def _file_for_folder(made: Broken, seed: Seed, random: Random) -> bool:
    """Put a file in the place of a folder."""
    folders = sorted({n.rpartition("/")[0] for n in made.files if "/" in n})
    if not folders:
        return False
    folder = folders[int(random.integers(len(folders)))]
    made.files = {n: d for n, d in made.files.items() if not n.startswith(f"{folder}/")}
    content = [b"", b"{}", b"folder"][int(random.integers(3))]

    def put(root: Path) -> None:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        (root / folder).write_bytes(content)

    made.place.append(put)
    made.rearranged = True
    made.done.append(f"a file instead of the folder {folder}")
    return True


def _during(what: str) -> Mutation:
    def mutate(made: Broken, seed: Seed, random: Random) -> bool:
        if made.during:
            return False
        made.during = what
        made.done.append(what)
        return True

    return mutate


_NAMES = {
    _flip_bit: "one bit flipped",
    _flip_bits: "bits flipped",
    _zero: "zeros",
    _ones: "0xFF",
    _noise: "noise",
    _swap: "ranges exchanged",
    _copy: "a range copied",
    _insert: "bytes inserted",
    _delete: "bytes deleted",
    _number: "an absurd number",
}

#: Weight and mutation, by name.
MUTATIONS: dict[str, tuple[float, Mutation]] = {
    **{name: (1.0, _edit(change)) for change, name in _NAMES.items()},
    "an absurd number": (4.0, _edit(_number)),
    "text": (2.0, _text),
    "cut": (2.0, _cut),
    "extended": (1.0, _extend),
    "directory": (8.0, _tiff),
    "renamed": (0.5, _rename),
    "removed": (0.4, _remove),
    "emptied": (0.4, _empty),
    "added": (0.5, _add),
    "exchanged": (0.4, _exchange),
    "a folder": (0.2, _instead("a folder")),
    "a link to itself": (0.15, _instead("a link to itself")),
    "a link to nothing": (0.15, _instead("a link to nothing")),
    "a link to the folder": (0.15, _instead("a link to the folder")),
    "a named pipe": (0.15, _instead("a named pipe")),
    "no rights": (0.15, _instead("no rights")),
    "a file": (0.3, _file_for_folder),
    "shrinks": (1.0, _during("shrinks")),
    "short reads": (0.3, _during("short reads")),
}
