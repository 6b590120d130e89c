"""Embed every decodable image with a network, by default the bundled copy-detection one.

Enters: `data/previews` (pictures), `data/raw` (of images so small that they have no preview),
`data/clean/parts` (where these lie). Leaves: `data/embeddings/<shard>.parquet` with one vector of
unit length per key, what dedupe compares of it (`darkroom.embedding.network`), or the reason why
there is none, and `metrics/embed.json`.
A shard whose members and network are unchanged is not embedded again. Another network
(`embed.network`, a name in keras.applications) is written for LiteRT first. An image is embedded
whether or not `clean` rejects it, so that a change of `clean.reject` costs nothing here.

Alone: `python -m stages.embed`.
"""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from darkroom.core.failure_limit import count_failed
from darkroom.core.files import write_metrics
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.embedding.embed import (
    VERSION,
    EmbedSettings,
    embed_shard,
    network_file,
    prepare_network,
)
from darkroom.images import previews
from darkroom.images.grey_range import read_range
from darkroom.workers.mapper import map_shards

TARGET = Path("data/embeddings")
METRICS = Path("metrics/embed.json")
SCRATCH = Path(".darkroom/embed")


class Params(StageParams):
    """The sections of params.yaml that embed reads."""

    engine: EngineParams
    embed: EmbedParams


def read_failed(folder: Path) -> tuple[dict[str, str], int | None]:
    """Return the reason of each key without vector, and the dimensions (None without a part)."""
    files = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]
    dimensions = files[0].schema_arrow.field("embedding").type.list_size if files else None
    parts = [file.read(["key", "reason"]) for file in files]
    failed = [part.filter(pc.is_valid(part["reason"])).to_pylist() for part in parts]
    return {row["key"]: row["reason"] for rows in failed for row in rows}, dimensions


def run(root: Path, params: Params) -> None:
    """Embed what is new, drop what is gone."""
    embed, scratch = params.embed, root / SCRATCH
    digest = prepare_network(embed, scratch)
    settings = EmbedSettings(embed.network, embed.layer, embed.pool_size, digest, read_range(root))
    members = previews.locate(root).reset_index()
    progress = Progress("embed", len(members))
    map_shards(
        embed_shard, members, root, root / TARGET, scratch,
        settings, VERSION, params.engine, progress,
    )  # fmt: skip
    reasons, dimensions = read_failed(root / TARGET)
    failed = count_failed("embed", reasons)
    embedded = len(members) - len(reasons)
    progress.close(embedded, {}, failed)
    write_metrics(
        root / METRICS,
        {
            "images": len(members),
            "embedded": embedded,
            "failed": failed,
            "dimensions": dimensions,
            "network": {
                "name": embed.network,
                "bytes": network_file(scratch, embed.network).stat().st_size,
            },
        },
    )


if __name__ == "__main__":
    run_as_script(run, Params)
