import numpy as np

from benchmarks.fuzz import ORIGINAL, Case, judge, mutate, read_originals
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


def test_a_file_is_judged_by_the_pixels_that_are_left():
    originals = read_originals([])
    burst, raw, png = (originals[name] for name in ("burst.jpg", "raw.ppm", "rgb.png"))
    end = burst.index(b"\xff\xd9") + 2
    case = Case("jpg", "burst.jpg", "cut")
    assert judge(burst[: end + 99], case, "kept", burst) == "same"
    changed = np.frombuffer(raw, np.uint8).copy()
    changed[-1] ^= 255
    assert judge(changed.tobytes(), case, "kept", raw) == "FALSE KEPT"
    assert judge(changed.tobytes(), case._replace(mutation="flip_bits"), "kept", raw) == "other"
    assert judge(raw[:-1], case, "kept", raw) == "FAILS LATER"
    assert judge(png[: len(png) // 2], case, "truncated", png) == "refused / refused"
    assert judge(png, case, "corrupt", png) == "WHOLE"
