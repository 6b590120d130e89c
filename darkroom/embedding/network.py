"""Read a network, by default the bundled one, through LiteRT: pixels to embeddings of unit length.

The bundled one also describes the places of a picture, for dedupe to match: a grid of descriptors;
and its regions, for dedupe to find pictures within it: a vector of the whole and one per window;
and there is the picture itself, very small, in grey.

LiteRT loads in 0.2 s and gives identical results over threads and batch sizes, so that an
embedding depends on the network and the image's bytes alone.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels
from darkroom.images.resize import resize

BUNDLED = Path(__file__).with_name("network.tflite")
BATCH = 8  # more do not fit into a core's cache, fewer have more overhead
PLACES, LOCAL_DIMENSIONS = 256, 32  # a grid of 16 x 16
REGIONS, REGION_DIMENSIONS = 35, 64  # the whole, and windows of that grid (`dedupe.regions`)
SMALL_PX = 32  # the picture in grey, squared
LOCAL_SCALE = 127  # of descriptors and regions as int8


class Embedded(NamedTuple):
    """What a network says of n images."""

    vectors: NDArray[np.float32]  # (n, d) of unit length
    # (n, PLACES, LOCAL_DIMENSIONS), row by row; (n, 0, 0) of other networks
    local: NDArray[np.int8]
    regions: NDArray[np.int8]  # (n, REGIONS, REGION_DIMENSIONS), likewise
    small: NDArray[np.uint8]  # (n, SMALL_PX, SMALL_PX)


def shrink(picture: Pixels) -> NDArray[np.uint8]:
    """Return the picture in grey, SMALL_PX squared."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    size = (SMALL_PX, SMALL_PX)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


class Network:
    """The loaded network, for one process and one thread."""

    def __init__(self, path: Path = BUNDLED) -> None:
        """Load the network at `path`."""
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        details = self._interpreter.get_input_details()[0]
        self._input = details["index"]
        self.size_px = int(details["shape"][1])
        batch = int(details["shape_signature"][0])
        self.batch = BATCH if batch == -1 else batch  # -1: the file leaves it open
        shape = [self.batch, self.size_px, self.size_px, 3]
        self._interpreter.resize_tensor_input(self._input, shape, strict=False)
        self._interpreter.allocate_tensors()
        outputs = {
            tuple(each["shape"][1:]): each for each in self._interpreter.get_output_details()
        }
        (output,) = (each for shape, each in outputs.items() if len(shape) == 1)
        self._output, self.dimensions = output["index"], int(output["shape"][-1])
        self._described = [
            outputs.get(shape, {}).get("index")
            for shape in [(PLACES, LOCAL_DIMENSIONS), (REGIONS, REGION_DIMENSIONS)]
        ]

    def prepare(self, picture: Pixels) -> Pixels:
        """Resize a picture to the network's square, regardless of aspect."""
        return resize(picture, self.size_px, self.size_px)

    def embed(self, images: list[Pixels]) -> Embedded:
        """Embed prepared images, a list of (size, size, 3) uint8."""
        starts = range(0, len(images), self.batch)
        parts = [self._embed_batch(images[i : i + self.batch]) for i in starts]
        if not parts:
            nothing = np.zeros((0, 0, 0), np.int8)
            vectors = np.zeros((0, self.dimensions), np.float32)
            return Embedded(vectors, nothing, nothing, nothing.astype(np.uint8))
        return Embedded(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _embed_batch(self, images: list[Pixels]) -> Embedded:
        batch = self._interpreter.tensor(self._input)()  # (batch, size, size, 3) float32, a view
        batch[: len(images)] = images
        batch[len(images) :] = 0
        del batch  # LiteRT refuses to run while it is held
        self._interpreter.invoke()
        output = self._interpreter.get_tensor(self._output)[: len(images)]  # (n, d)
        length = np.linalg.norm(output, axis=1, keepdims=True)
        vectors = np.array(output / np.maximum(length, 1e-12), np.float32)  # all zeros stay so
        local, regions = (self._describe(index, len(images)) for index in self._described)
        return Embedded(vectors, local, regions, np.stack([shrink(image) for image in images]))

    def _describe(self, index: int | None, n: int) -> NDArray[np.int8]:
        if index is None:
            return np.zeros((n, 0, 0), np.int8)
        described = self._interpreter.get_tensor(index)[:n]
        return np.asarray(np.rint(described * LOCAL_SCALE), np.int8)
