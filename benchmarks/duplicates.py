"""What de-duplication finds in real sets, for a person to look at.

    python -m benchmarks.duplicates FOLDER --out SHEETS [--split holdout=test]

Runs scan, download, clean, embed and dedupe on FOLDER in a temporary project; folders of two levels
are read as split/label, tar shards are unpacked first. Printed are the groups of identical files
and whether all but one of each were rejected, and what leaks across official splits. The other
copies, whose bytes differ, go on contact sheets in SHEETS, the least sure first: representative to
the left, the rejected copy to the right, the share of detail that agrees below. Further sheets show
the nearest pairs that were not called copies, to see what is missed.
"""

import argparse
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from darkroom.core import shards, tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images.decode import decode
from darkroom.images.resize import resize
from stages import clean, dedupe, download, embed, scan

CELL_PX, COLUMNS, ROWS = 120, 6, 10
NEAR = 120  # pairs not called copies that are shown


def params_for(folder: Path, split_map: dict[str, str]) -> Params:
    """Return the project's parameters with FOLDER as the only source."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    source = {"kind": "folder", "path": str(folder)}
    if any(path.is_file() for path in folder.glob("*/*/*")):
        source |= {"label_from": "parent", "split_from": "grandparent"}
    values["download"]["sources"] = [source]
    values["dedupe"]["label_conflict"] = "majority"
    values["split"]["map"] = split_map
    return check_params(values, Params)


def unpack(folder: Path, target: Path) -> Path:
    """Return a folder of image files: `folder` itself, or what its tar shards hold."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            archive.extractall(target / path.stem, filter="data")
    return target if target.exists() else folder


def report_identical(root: Path) -> None:
    """Print the groups of identical files, and the leaks across official splits."""
    index = tables.read_table(root / "data/raw/index.parquet", tables.INDEX)
    records = tables.read_table(root / "data/dedupe/records.parquet", tables.RECORDS)
    sizes = index["key"].value_counts()
    several = set(sizes[sizes > 1].index)
    kept = records[records["status"] == "kept"]["key"].value_counts()
    at_most_once = sum(kept.get(key, 0) <= 1 for key in several)
    print(
        f"{len(records)} files, {len(several)} groups of identical files "
        f"({int(sizes[sizes > 1].sum())} files); {at_most_once} with at most one file kept"
    )
    leaks = records[records["reason"].fillna("").str.startswith("leaks")]
    print(f"leaks across splits: {dict(Counter(leaks['reason']))}")
    chosen = dict(zip(kept.index, kept.index, strict=True))
    names = records[records["status"] == "kept"].set_index("key")["name"]
    for row in leaks.itertuples():
        of = chosen.get(row.representative or row.key, row.representative or row.key)
        print(f"    {row.name} is {names.get(of, of)}")


def other_copies(root: Path) -> pd.DataFrame:
    """Return the rejected copies, with the evidence against their representatives."""
    groups = tables.read_table(root / "data/dedupe/groups.parquet", tables.GROUPS)
    pairs = tables.read_table(root / "data/dedupe/pairs.parquet", tables.PAIRS)
    evidence = {(row.key_a, row.key_b): row for row in pairs.itertuples()}
    copies = groups[(groups["copy_group"] != groups["key"]) & groups["representative"].notna()]
    rows = []
    for row in copies.itertuples():
        found = evidence[min(row.key, row.representative), max(row.key, row.representative)]
        rows.append((row.representative, row.key, found.agreement, found.decided_by))
    columns = ["representative", "key", "agreement", "decided_by"]
    return pd.DataFrame(rows, columns=columns).sort_values("agreement", ignore_index=True)


def near_misses(root: Path) -> pd.DataFrame:
    """Return the nearest pairs that were not called copies, in the columns of `other_copies`."""
    pairs = tables.read_table(root / "data/dedupe/pairs.parquet", tables.PAIRS)
    nearest = pairs[~pairs["duplicate"]].nlargest(NEAR, "normalised")
    nearest = nearest.rename(columns={"key_a": "representative", "key_b": "key"})
    return nearest[["representative", "key", "agreement", "decided_by"]]


def draw_sheets(root: Path, copies: pd.DataFrame, out: Path) -> None:
    """Write the contact sheets."""
    index = tables.read_table(root / "data/raw/index.parquet", tables.INDEX)
    places = {row.Index: shards.Location(*row[1:]) for row in by_key(index).itertuples()}

    def thumb(key: str) -> NDArray[np.uint8]:
        pixels = decode(shards.read_member(root / "data/raw", places[key]))
        return np.ascontiguousarray(resize(pixels, CELL_PX, CELL_PX)[:, :, ::-1])

    out.mkdir(parents=True, exist_ok=True)
    per_sheet = COLUMNS * ROWS
    for start in range(0, len(copies), per_sheet):
        sheet = np.full((ROWS * (CELL_PX + 18), COLUMNS * (2 * CELL_PX + 8), 3), 255, np.uint8)
        for number, row in enumerate(copies[start : start + per_sheet].itertuples()):
            top = number // COLUMNS * (CELL_PX + 18)
            left = number % COLUMNS * (2 * CELL_PX + 8)
            pair = np.concatenate([thumb(row.representative), thumb(row.key)], axis=1)
            sheet[top : top + CELL_PX, left : left + 2 * CELL_PX] = pair
            text = f"{start + number} {row.agreement:.2f} {row.decided_by}"
            where = (left, top + CELL_PX + 13)
            cv2.putText(sheet, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1)
        cv2.imwrite(str(out / f"{start:04d}.png"), sheet)


def by_key(index: pd.DataFrame) -> pd.DataFrame:
    return shards.stored(index).set_index("key")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--split", nargs="*", default=[], help="name=standard name, as holdout=test"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "project"
        root.mkdir()
        folder = unpack(given.folder.resolve(), Path(scratch) / "unpacked")
        params = params_for(folder, dict(pair.split("=") for pair in given.split))
        for stage in (scan, download, clean, embed, dedupe):
            stage.run(root, params)
        report_identical(root)
        copies = other_copies(root)
        print(f"{len(copies)} other copies, by {dict(Counter(copies['decided_by']))}")
        draw_sheets(root, copies, given.out / "copies")
        draw_sheets(root, near_misses(root), given.out / "near")


if __name__ == "__main__":
    main()
