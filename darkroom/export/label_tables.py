"""labels.parquet, which is exact, and labels.csv, for people and spreadsheets."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from darkroom.core.csv import escape, rows_to_csv
from darkroom.core.files import write_text
from darkroom.core.tables import null_to_none, write_table
from darkroom.export.writers import LABELS


def write_label_tables(target: Path, rows: pd.DataFrame, names: list[str]) -> None:
    """Write labels.parquet (exact) and labels.csv (one column per score; cells made harmless).

    The CSV has the columns that a Darkroom folder source reads, so that an export can come back.
    """
    table = rows[list(LABELS)].assign(name=names)
    schema = pa.schema([("name", pa.string()), *LABELS.items()])
    write_table(table, target / "labels.parquet", schema, sort_by=["name"])
    votes = pd.DataFrame({"rating": table["ratings"].map(null_to_none)})["rating"]
    bins = max((len(row) for row in votes if row), default=0)
    for position in range(bins):
        cells = [row[position] if row and len(row) > position else None for row in votes]
        table[f"rating_{position + 1}"] = pd.array(cells, dtype="Int64")
    table = table.drop(columns="ratings").sort_values("name")
    used = [name for name in table if name in {"key", "split"} or table[name].notna().any()]
    columns = ["name", *(name for name in used if name != "name")]
    lines = table[columns].itertuples(index=False)
    texts = ([escape(null_to_none(cell)) for cell in line] for line in lines)
    write_text(target / "labels.csv", rows_to_csv(columns, texts))
