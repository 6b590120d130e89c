"""Embed shards of images, each in a worker process; write another network for LiteRT first."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.params.embed import EmbedParams
from darkroom.embedding.feature_map import export_application
from darkroom.embedding.network import BUNDLED, Network
from darkroom.images import previews
from darkroom.images.decode import DecodeError, Pixels
from darkroom.workers.mapper import ShardTask
from darkroom.workers.pool import new_pool

# Raise when the same network and bytes give other embeddings.
VERSION = f"3, previews {previews.VERSION}"
TIMEOUT_S = 60.0  # clean has decoded these images within its own, shorter limit


class EmbedSettings(NamedTuple):
    """What an embedding depends on, beside the image."""

    network: str
    layer: str | None
    pool_size: int
    digest: str  # of the weights, and so of embed.alpha


def network_file(scratch: Path, network: str) -> Path:
    """Return where LiteRT finds the network: ours, or what `prepare_network` wrote."""
    return BUNDLED if network == "bundled" else scratch / "network.tflite"


def prepare_network(params: EmbedParams, scratch: Path) -> str:
    """Return the network's digest; one of keras.applications is built and written first.

    A process of its own does that: TensorFlow's memory goes with it. Raises UserError.
    """
    if params.network == "bundled":
        return hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
    with new_pool(1) as process:
        target = network_file(scratch, params.network)
        return process.submit(export_application, params, target).result()


load_network = cache(Network)  # once per worker process


def embed_shard(task: ShardTask) -> None:
    """Write the part of one shard; a second thread embeds while this one decodes.

    Both release the interpreter lock, so that one shard keeps two cores busy. What the last part
    has of these images is taken from there.
    """
    network = load_network(network_file(task.scratch, task.settings.network))
    known = known_vectors(task)
    keys: list[str] = list(known)
    failed = dict(task.poisoned)
    prepared: list[Pixels] = []
    embedded: list[Future[NDArray[np.float32]]] = []
    with ThreadPoolExecutor(1) as thread:
        for key, *place in task.members[["key", *previews.Place._fields]].itertuples(index=False):
            if key in known or key in failed:
                continue
            try:
                with task.guard(key, TIMEOUT_S):
                    picture = previews.read_picture(task.folder, previews.Place(*place))
                prepared.append(network.prepare(picture))
            except DecodeError as error:
                failed[key] = error.reason
                continue
            keys.append(key)
            if len(prepared) == network.batch:
                embedded.append(thread.submit(network.embed, prepared))
                prepared = []
        embedded.append(thread.submit(network.embed, prepared))
    vectors = [*known.values(), *(row for batch in embedded for row in batch.result())]
    frame = pd.DataFrame(
        {
            "key": [*keys, *failed],
            "reason": [*[None] * len(keys), *failed.values()],
            "embedding": pd.Series([*vectors, *[None] * len(failed)], dtype=object),
        }
    )
    tables.write_table(frame, task.part, tables.embeddings_schema(network.dimensions))


def known_vectors(task: ShardTask) -> dict[str, NDArray[np.float32]]:
    """Return the vectors, by key, of the members that the last part has."""
    if not task.reusable:
        return {}
    try:
        part = tables.read_table(task.part, columns=["key", "reason", "embedding"])
    except UserError:  # broken
        return {}
    part = part[part["reason"].isna() & part["key"].isin(task.members["key"])]
    return dict(zip(part["key"], part["embedding"], strict=True))
