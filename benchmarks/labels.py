"""How long reading and matching a label table takes: AVA.txt's 255,530 rows, and the same as CSV.

python -m benchmarks.labels
"""

import random
import tempfile
import time
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from darkroom.sources.label_tables.match import read_labels

ROWS = 255_530  # of AVA


def main() -> None:
    draw = random.Random(17)
    lines = [
        f"{number} {number * 3} {' '.join(str(draw.randrange(60)) for _ in range(10))} 1 22 1396"
        for number in range(1, ROWS + 1)
    ]
    names = [f"images/{number * 3}.jpg" for number in range(1, ROWS + 1)]
    header = ",".join(["name", *(f"rating_{bin}" for bin in range(1, 11))])
    rows = [",".join([f"{cells[1]}.jpg", *cells[2:12]]) for cells in map(str.split, lines)]
    with tempfile.TemporaryDirectory() as folder:
        ava, table, parquet = (Path(folder) / name for name in ("AVA.txt", "a.csv", "a.parquet"))
        ava.write_text("\n".join(lines) + "\n")
        table.write_text("\n".join([header, *rows]) + "\n")
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(table), parquet)
        for path in (ava, table, parquet):
            started = time.process_time()
            labels = read_labels(path, path.read_bytes(), names)
            seconds = time.process_time() - started
            print(f"{path.name}: {len(labels):,} labels in {seconds:.1f} s of processor time")


if __name__ == "__main__":
    main()
