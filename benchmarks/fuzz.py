"""Broken and hostile files through the stage clean: what becomes of them, by format and mutation.

    python -m benchmarks.fuzz [FOLDER ...] [--mutations 20000] [--seed 17] [--workers 2]

Originals are the files of the folders up to 100 KB and a photograph in every format that Pillow
writes; the HEIF ones are those of the tests. Formats take turns; each mutation (`benchmarks.
mutations`) is drawn from (seed, number), so that a run repeats. All go through shards and worker
processes, as images of a data set do. Printed:

- the reasons of the unchanged originals;
- counts by format and reason, and by mutation and reason;
- of the files that were only cut: those that are kept although their pixels differ from the
  original's. There must be none. A cut that took only what stands behind the picture (a later JPEG
  of a burst, a preview, padding) is recognised by equal pixels and counted apart.

Ends with 1 if a cut file was kept, or a mutation did not end as one row.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from benchmarks.mutations import CUTS, OTHERS, encodings
from darkroom.core import shards, tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images.decode import DecodeError, decode
from darkroom.images.formats import sniff_extension
from stages import clean

REPOSITORY = Path(__file__).parents[1]
SAMPLES = REPOSITORY / "tests/images/samples"
MOST_BYTES = 100_000
PER_SHARD = 1000
ORIGINAL = "(none)"


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
    return tables.read_parts(root / clean.PARTS, ["key", "fault", "fault_detail"]).set_index("key")


def check_cut(original: bytes, left: bytes) -> str:
    """Say whether a cut file that was kept still shows the whole picture."""
    try:
        same = np.array_equal(decode(original), decode(left))
    except DecodeError:
        return "original broken"
    return "same picture" if same else "FALSE KEPT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
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
    cuts = {mutation.__name__ for mutation in CUTS}
    checked = rows["mutation"].isin(cuts) & (rows["reason"] == "kept")
    contents = list(cases)
    rows.loc[checked, "reason"] = [
        f"kept: {check_cut(originals[rows.at[row, 'original']], contents[row])}"
        for row in rows.index[checked]
    ]
    print_results(rows, seconds)
    wrong = (rows["reason"] == "kept: FALSE KEPT").sum()
    sys.exit(int(wrong > 0 or len(found) != len(cases) or rows["reason"].isna().any()))


def print_results(rows: pd.DataFrame, seconds: float) -> None:
    first = rows["mutation"] == ORIGINAL
    print(f"\n{len(rows)} files, {first.sum()} of them unchanged, in {seconds:.0f} s")
    print("\nunchanged, by format\n")
    print(pd.crosstab(rows[first]["format"], rows[first]["reason"]).to_string())
    for by in ("format", "mutation"):
        print(f"\nmutations, by {by}\n")
        print(pd.crosstab(rows[~first][by], rows[~first]["reason"], margins=True).to_string())
    odd = rows[rows["reason"].str.startswith("decoder_") | (rows["reason"] == "kept: FALSE KEPT")]
    print(f"\n{len(odd)} to look at\n")
    print(odd[["format", "original", "mutation", "reason", "key"]].to_string(index=False))


if __name__ == "__main__":
    main()
