"""A short run of the fuzzer, and proof that it sees faults."""

from __future__ import annotations

import os
import re
import sys

import fuzz
import numpy as np
import pytest
import recordings
from fuzzing.expected import Expected
from fuzzing.kind import rows_of
from fuzzing.kinds import KINDS
from fuzzing.mutations import MUTATIONS, Broken, broken
from fuzzing.planted import PLANTED
from fuzzing.worker import Case, random_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed")

HERE = [kind for kind in KINDS if not kind.missing]


def run(cases, **options):
    return fuzz.run(iter(cases), **{"jobs": 1, "timeout_s": 300.0, "memory_mib": 2048} | options)


def test_broken_recordings_give_frames_or_a_read_error():
    files = 6 * len(HERE)
    results = run(fuzz.cases_of(0, files, [kind.name for kind in HERE]))
    assert not results.faults, fuzz.faults(results)
    assert sum(row.files for row in results.rows.values()) == files
    assert all(row.frames and row.errors for row in results.rows.values())
    assert set(results.rows) == {kind.reader for kind in HERE}


@pytest.mark.parametrize("kind", HERE, ids=lambda kind: kind.name)
def test_kinds_open_as_they_are_written(tmp_path, kind):
    seed = kind.seed
    for name, content in seed.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in seed.source]
    frames, error, _ = recordings.outcome(paths if seed.many else paths[0], **kind.options)
    assert error is None
    np.testing.assert_array_equal(frames, seed.frames)
    for piece in seed.pieces:
        if piece.row is not None:
            raw = seed.files[piece.file][piece.begin : piece.end]
            values = seed.frames[piece.frame, piece.row]
            assert raw in {values.astype(values.dtype.newbyteorder(o)).tobytes() for o in "<>"}


#: What is said of each reader with a fault. Those of memory need no sanitizer that maps terabytes.
SAID = {
    "a crash": "kills the process with SIGABRT",
    "a hang": "hangs: no answer in 3 s",
    "an allocation": "MemoryError",
    "memory": "MemoryError|MiB of memory",
    "an exception": "KeyError: 'a'",
    "no path": "the error names no file",
    "a descriptor": "1 descriptors are left open",
    "a warning": "RuntimeWarning: not ours",
    "refuses": "does not open|no frame was touched",
    "a wrong pixel": "wrong pixels in frame 3, first at .20, 40., 1 in all",
    "frames that depend on threads": "gives other pixels than read",
    "is not closed": "was read after it was closed",
}


@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.name)
def test_planted_faults_are_found(kind):
    fault = kind.name.removeprefix("planted: ")
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        if fault in ("an allocation", "memory"):
            pytest.skip("the sanitizer keeps its own account of memory")
        SAID["a crash"] = "kills the process with SIGABRT|ends the process with status"
    patience = 3.0 if fault == "a hang" else 300.0
    untouched = next(
        number
        for number in range(1000)
        if broken(kind.seed, random_of(Case(0, kind.name, number))).done == ["short reads"]
    )
    results = run([Case(0, kind.name, untouched)], timeout_s=patience)
    assert len(results.faults) == 1
    text = results.faults[0][1]["text"]
    assert re.search(SAID[fault], text), text
    shown = fuzz.faults(results)
    assert f"--seed 0 --kind {kind.name!r} --only {untouched}" in shown
    assert "planted" in fuzz.table(results)


def test_a_worker_goes_on_after_a_crash():
    names = ["planted: a crash", "raw, counted", "planted: a crash", "raw, counted"]
    results = run([Case(0, name, number) for number, name in enumerate(names)])
    assert results.rows["planted"].faults == 2
    assert (results.rows["raw"].files, results.rows["raw"].faults) == (2, 0)


def test_a_case_is_the_same_whatever_was_before():
    alone = broken(KINDS[0].seed, random_of(Case(5, KINDS[0].name, 17)))
    for kind in KINDS[:3]:
        broken(kind.seed, random_of(Case(5, kind.name, 3)))
    again = broken(KINDS[0].seed, random_of(Case(5, KINDS[0].name, 17)))
    assert (alone.files, alone.done, alone.source) == (again.files, again.done, again.source)


def test_every_mutation_happens():
    seen = set()
    for kind in KINDS:
        for name, (_, mutate) in MUTATIONS.items():
            made = Broken(dict(kind.seed.files), list(kind.seed.source))
            if any(mutate(made, kind.seed, np.random.default_rng(i)) for i in range(5)):
                seen.add(name)
    missing = set(MUTATIONS) - seen
    assert missing <= {"no rights", "a file"}  # root may read all; some kinds have no folders


def test_what_is_expected_is_told_by_the_bytes():
    kind = next(k for k in KINDS if k.name == "TIFF, contiguous")
    seed = kind.seed
    name = seed.source[0]
    content = seed.files[name]

    def expected(changed):
        return Expected.of(kind, Broken({name: changed}, seed.source))

    at = seed.pieces[40]  # row 7 of frame 1
    assert (at.frame, at.row) == (1, 7)
    changed = bytearray(content)
    changed[at.begin + 5] ^= 1
    pixels = expected(bytes(changed))
    assert pixels.rule == "same"
    assert np.argwhere(pixels.frames != seed.frames).tolist() == [[1, 7, 2]]
    changed[0] ^= 1
    assert expected(bytes(changed)).rule == "any"
    assert expected(content[:-5]).rule == "prefix"
    assert expected(content + b"x").rule == "begin"
    packed = next(k for k in KINDS if k.name == "TIFF, zlib")
    changed = bytearray(packed.seed.files[name])
    changed[packed.seed.pieces[2].begin] ^= 1
    assert Expected.of(packed, Broken({name: bytes(changed)}, [name])).touched == {
        packed.seed.pieces[2].frame
    }


def test_rows_are_found_in_both_byte_orders():
    frames = recordings.some_frames()
    for order in "<>":
        raw = b"head" + frames.astype(f"{order}u2").tobytes()
        pieces = rows_of({"a": raw}, frames)
        assert len(pieces) == frames.shape[0] * frames.shape[1]
        assert pieces[0].begin == 4
    assert rows_of({"a": raw[:-1]}, frames) == []


def test_the_command_line(capsys):
    assert fuzz.main(["--files", "3", "--kind", "raw", "--seed", "4"]) == 0
    assert "ReadError" in capsys.readouterr().out
    assert fuzz.main(["--files", "1", "--kind", "planted: an exception"]) == 1
    assert "KeyError" in capsys.readouterr().out
    assert fuzz.main(["--list", "--kind", "npy,"]) == 0
    assert "npy, Fortran order" in capsys.readouterr().out
