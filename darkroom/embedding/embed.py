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
from darkroom.core.params.embed import EmbedParams
from darkroom.embedding.feature_map import export_application
from darkroom.embedding.network import BUNDLED, Network
from darkroom.images.decode import Pixels
from darkroom.workers.mapper import ShardTask
from darkroom.workers.pool import new_pool

VERSION = "2"  # raise when the same network and bytes give other embeddings
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

    Both release the interpreter lock, so that one shard keeps two cores busy.
    """
    network = load_network(network_file(task.scratch, task.settings.network))
    keys: list[str] = []
    prepared: list[Pixels] = []
    embedded: list[Future[NDArray[np.float32]]] = []
    with ThreadPoolExecutor(1) as thread:
        for key, content in task.images():
            with task.guard(key, TIMEOUT_S):
                prepared.append(network.prepare(content))
            keys.append(key)
            if len(prepared) == network.batch:
                embedded.append(thread.submit(network.embed, prepared))
                prepared = []
        embedded.append(thread.submit(network.embed, prepared))
    vectors = np.concatenate([batch.result() for batch in embedded])  # (n, d)
    frame = pd.DataFrame({"key": keys, "embedding": pd.Series(list(vectors), dtype=object)})
    tables.write_table(frame, task.part, tables.embeddings_schema(network.dimensions))
