import numpy as np

from benchmarks.fuzz import ORIGINAL, check_cut, mutate, read_originals
from benchmarks.mutations import CUTS
from darkroom.images.formats import EXTENSIONS, sniff_extension


def test_mutations_repeat_and_cuts_are_beginnings_of_their_original():
    originals = read_originals([])
    assert {sniff_extension(content) for content in originals.values()} == {*EXTENSIONS.values()}
    cases = mutate(originals, 200, seed=3)
    assert list(mutate(originals, 200, seed=3).items()) == list(cases.items())
    assert len(cases) == len(originals) + 200
    cuts = {mutation.__name__ for mutation in CUTS}
    for content, case in cases.items():
        if case.mutation in cuts:
            assert originals[case.original].startswith(content)
            assert len(content) < len(originals[case.original])
        elif case.mutation == ORIGINAL:
            assert originals[case.original] == content


def test_a_cut_is_judged_by_the_pixels_that_are_left():
    originals = read_originals([])
    burst, raw = originals["burst.jpg"], originals["raw.ppm"]
    end = burst.index(b"\xff\xd9") + 2
    assert check_cut(burst, burst[: end + 99]) == "same picture"
    changed = np.frombuffer(raw, np.uint8).copy()
    changed[-1] ^= 255
    assert check_cut(raw, changed.tobytes()) == "FALSE KEPT"
