"""Broken and hostile files through the stage clean: what becomes of them, by format and mutation.

    python -m benchmarks.fuzz [FOLDER ...] [--mutations N] [--seed 17] [--workers 2] [--out FOLDER]

Originals are the files of the folders up to 100 KB and a photograph in every format that Pillow
writes; the HEIF ones are those of the tests. Formats take turns; each mutation (`benchmarks.
mutations`) is drawn from (seed, number), so that a run repeats. All go through shards and worker
processes, as images of a data set do; what clean keeps is decoded again, in full and scaled, as the
later stages do. Printed:

- the reasons of the unchanged originals;
- counts by format and reason, and by mutation and reason;
- what became of the picture, by format: of what is kept, whether its pixels are those of the
  original; of what is rejected as broken, what Pillow in a fresh state and OpenCV show;
- to look at: the files that end a decoder (`decoder_...`); those that were only cut and are kept
  although their pixels differ (FALSE KEPT); those that are kept and fail later (FAILS LATER); those
  that are rejected although Pillow and OpenCV both show the whole picture (WHOLE).

Ends with 1 if a cut file was kept wrongly, one fails later, or a mutation did not end as one row.
"""

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import yaml
from PIL import Image

from benchmarks.mutations import CUTS, OTHERS, encodings
from darkroom.core import shards, tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images.colours import Pixels, to_rgb
from darkroom.images.decode import DecodeError, decode
from darkroom.images.formats import sniff_extension
from stages import clean

REPOSITORY = Path(__file__).parents[1]
SAMPLES = REPOSITORY / "tests/images/samples"
MOST_BYTES = 100_000
PER_SHARD = 1000
ORIGINAL = "(none)"
MAX_PIXELS = 100_000_000
SCALED_TO = (None, 8, 64, 256)  # short sides
SAME = 3  # of 255, in which decoders may differ
BROKEN = {"truncated", "corrupt"}
WRONG = {"FALSE KEPT", "FAILS LATER"}


class Case(NamedTuple):
    """A file and how it came about."""

    format: str
    original: str
    mutation: str


def read_originals(folders: list[Path]) -> dict[str, bytes]:
    """Return name → bytes."""
    found = encodings()
    for folder in (*folders, SAMPLES):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if 0 < path.stat().st_size <= MOST_BYTES:
                found[f"{folder.name}/{path.relative_to(folder)}"] = path.read_bytes()
    return found


def mutate(originals: dict[str, bytes], count: int, seed: int) -> dict[bytes, Case]:
    """Return the originals and `count` different mutations of them."""
    names: dict[str, list[str]] = {}
    cases = {}
    for name, content in originals.items():
        kind = sniff_extension(content)
        names.setdefault(kind, []).append(name)
        cases[content] = Case(kind, name, ORIGINAL)
    kinds, total, number = sorted(names), len(cases) + count, 0
    while len(cases) < total:
        rng = np.random.default_rng([seed, number])
        kind = kinds[number % len(kinds)]
        name, other = rng.choice(names[kind]), rng.choice(names[str(rng.choice(kinds))])
        operation = (CUTS, OTHERS)[int(rng.random() < 0.6)]
        mutation = operation[int(rng.integers(len(operation)))]
        changed = mutation(originals[name], originals[other], rng)
        cases.setdefault(changed, Case(kind, str(name), mutation.__name__))
        number += 1
    return cases


def write_store(root: Path, contents: list[bytes]) -> None:
    """Write `data/raw` as download would."""
    rows = []
    for start in range(0, len(contents), PER_SHARD):
        part = contents[start : start + PER_SHARD]
        keys = [shards.key_of(content) for content in part]
        named = [(f"{key}.bin", content) for key, content in zip(keys, part, strict=True)]
        path = root / clean.RAW / shards.shard_name(start // PER_SHARD)
        path.parent.mkdir(parents=True, exist_ok=True)
        for key, place in zip(keys, shards.write_shard(path, named), strict=True):
            known = {"source": "fuzz", "name": key, "uri": key, "key": key, "status": "kept"}
            rows.append(dict.fromkeys(tables.INDEX.names) | known | place._asdict())
    index = pd.DataFrame(rows)
    tables.write_table(index, root / clean.RAW / "index.parquet", tables.INDEX, ["source", "name"])


def run_clean(root: Path, workers: int) -> pd.DataFrame:
    """Run the stage and return the faults of its parts, by key."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["engine"]["workers"] = workers
    values["clean"]["max_failed_fraction"] = 1.0
    clean.run(root, check_params(values, Params))
    columns = ["key", "fault", "fault_detail", "odd_structure"]
    return tables.read_parts(root / clean.PARTS, columns).set_index("key")


def show(read, content: bytes) -> Pixels | None:
    """Return what a decoder shows of a file, None where it refuses."""
    try:
        return read(content)
    except Exception:
        return None


def read_by_pillow(content: bytes) -> Pixels:
    image = Image.open(io.BytesIO(content))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError("too large")
    image.load()
    return to_rgb(image)


def read_by_opencv(content: bytes) -> Pixels:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags)[:, :, ::-1]


def compare(found: Pixels | None, expected: Pixels | None) -> str:
    if found is None or expected is None:
        return "refused" if found is None else "original broken"
    if (
        found.shape == expected.shape
        and cv2.absdiff(np.ascontiguousarray(found), np.ascontiguousarray(expected)).max(initial=0)
        <= SAME
    ):
        return "same"
    return "other"


def judge(content: bytes, case: Case, reason: str, original: bytes) -> str:
    """Say what became of the picture."""
    if reason == "kept":
        try:
            found = [decode(content, MAX_PIXELS, side) for side in SCALED_TO]
        except DecodeError:
            return "FAILS LATER"
        same = compare(found[0], show(decode, original))
        is_cut = case.mutation in {mutation.__name__ for mutation in CUTS}
        return "FALSE KEPT" if same == "other" and is_cut else same
    if reason not in BROKEN or case.mutation == ORIGINAL:
        return ""
    shown = [
        compare(show(read, content), show(read, original))
        for read in (read_by_pillow, read_by_opencv)
    ]
    return "WHOLE" if shown == ["same", "same"] else " / ".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where to keep the files to look at")
    args = parser.parse_args()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    originals = read_originals(args.folders)
    cases = mutate(originals, args.mutations, args.seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), list(cases))
        found = run_clean(Path(folder), args.workers)
    seconds = time.monotonic() - start

    rows = pd.DataFrame([case._asdict() for case in cases.values()])
    rows["key"] = [shards.key_of(content) for content in cases]
    rows["reason"] = rows["key"].map(found["fault"].fillna("kept"))
    rows["detail"] = rows["key"].map(found["fault_detail"])
    contents = list(cases)
    rows["picture"] = [
        judge(content, case, reason, originals[case.original])
        for (content, case), reason in zip(cases.items(), rows["reason"], strict=True)
    ]
    rows["flag"] = rows["key"].map(found["odd_structure"]).eq(True).map({True: "odd", False: ""})
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        for row in rows.index[rows["picture"].isin({*WRONG, "WHOLE"})]:
            (args.out / rows.at[row, "key"]).write_bytes(contents[row])
    print_results(rows, seconds)
    wrong = rows["picture"].isin(WRONG).any() or rows["reason"].isna().any()
    sys.exit(int(wrong or len(found) != len(cases)))


def print_results(rows: pd.DataFrame, seconds: float) -> None:
    first = rows["mutation"] == ORIGINAL
    print(f"\n{len(rows)} files, {first.sum()} of them unchanged, in {seconds:.0f} s")
    print("\nunchanged, by format\n")
    print(pd.crosstab(rows[first]["format"], rows[first]["reason"]).to_string())
    changed = rows[~first]
    for by in ("format", "mutation"):
        print(f"\nmutations, by {by}\n")
        print(pd.crosstab(changed[by], changed["reason"], margins=True).to_string())
    print("\nkept: its pixels against the original's; odd = flagged\n")
    kept = changed[changed["reason"] == "kept"]
    print(pd.crosstab(kept["format"], [kept["picture"], kept["flag"]]).to_string())
    print("\nbroken: what Pillow / OpenCV show\n")
    broken = changed[changed["reason"].isin(BROKEN)]
    print(pd.crosstab(broken["picture"], broken["format"]).to_string())
    odd = rows[rows["reason"].str.startswith("decoder_") | rows["picture"].isin({*WRONG, "WHOLE"})]
    print(f"\n{len(odd)} to look at\n")
    print(
        odd[["format", "original", "mutation", "reason", "picture", "key"]].to_string(index=False)
    )


if __name__ == "__main__":
    main()
