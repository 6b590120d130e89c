"""One chain of operations on one core: ours, scikit-image's, Albumentations'.

    python -m benchmarks.augmentation [--albumentations PYTHON] [--rounds 5]

The chain: horizontal flip, rotation by 25°, shift, Gaussian noise of 10, a blur of 5x5, on
photographs of scikit-image at 512x384. All take turns in every round, each in a process of its own
with one thread; start and imports are not counted. `--albumentations` names the Python of an
environment that has Albumentations 2.0.8. Then the same with each result encoded as the stage
augment stores it, by all of them alike. Ratios are of one round; the range is over rounds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from skimage import data

SIZE = (512, 384)  # width, height
REPEATS = 8  # of every photograph, per round
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "cat", "retina", "immunohistochemistry")
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

OURS = """
from darkroom.augmentation import appearance, geometry

def chain(pixels, seed):
    pixels = geometry.horizontal_flip(pixels)
    pixels = geometry.rotation(pixels, 25, "reflect")
    pixels = geometry.shift(pixels, 20, 30, "reflect")
    pixels = appearance.gaussian_noise(pixels, 10, seed)
    return appearance.blur(pixels, 0.8)
"""
SKIMAGE = """
import numpy as np
from skimage import filters, img_as_float, img_as_ubyte
from skimage.transform import AffineTransform, rotate, warp
from skimage.util import random_noise

def chain(pixels, seed):
    image = img_as_float(pixels)[:, ::-1]
    image = rotate(image, 25, mode="reflect")
    image = warp(image, AffineTransform(translation=(-30, -20)), mode="reflect")
    image = random_noise(image, "gaussian", rng=seed, var=(10 / 255) ** 2)
    image = filters.gaussian(image, 0.8, channel_axis=2, truncate=2.5)
    return img_as_ubyte(np.clip(image, 0, 1))
"""
ALBUMENTATIONS = """
import albumentations as A

made = A.Compose([
    A.HorizontalFlip(p=1),
    A.Affine(rotate=(25, 25), border_mode=2, p=1),
    A.Affine(translate_px={"x": (30, 30), "y": (20, 20)}, border_mode=2, p=1),
    A.GaussNoise(std_range=(10 / 255, 10 / 255), p=1),
    A.GaussianBlur(blur_limit=(5, 5), sigma_limit=(0.8, 0.8), p=1),
], seed=1)

def chain(pixels, seed):
    return made(image=pixels)["image"]
"""
# With encoding, all three encode alike.
PLAIN = """
def finish(pixels):
    return pixels
"""
ENCODED = """
import cv2

def finish(pixels):
    options = [
        cv2.IMWRITE_PNG_COMPRESSION, 1,
        cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
        cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
"""
# Run by another Python: the code of the chain and of the finish come before it.
LOOP = """
import sys, time
import cv2, numpy
cv2.setNumThreads(1)
photographs = numpy.load(sys.argv[1])
for pixels in photographs: finish(chain(pixels, 0))
start = time.process_time()
for seed in range(int(sys.argv[2])):
    for pixels in photographs: finish(chain(pixels, seed))
print(int(sys.argv[2]) * len(photographs) / (time.process_time() - start))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--albumentations", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ways = {"ours": OURS, "scikit-image": SKIMAGE}
    if given.albumentations:
        ways["albumentations"] = ALBUMENTATIONS
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "photographs.npy"
        np.save(pictures, photographs())
        for title, finish in {"without encoding": PLAIN, "encoded as PNG": ENCODED}.items():
            print(title)
            rounds = []
            for _ in range(given.rounds):
                rounds.append({
                    name: rate(name, code + finish, pictures, given) for name, code in ways.items()
                })  # fmt: skip
                print(
                    "  " + "  ".join(f"{name} {value:.0f}/s" for name, value in rounds[-1].items())
                )
            for other in list(ways)[1:]:
                ratios = sorted(one["ours"] / one[other] for one in rounds)
                middle = np.median(ratios)
                print(f"  ours / {other}: {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def photographs() -> np.ndarray:
    """Return the pictures: (n, height, width, 3) uint8 RGB."""
    found = [getattr(data, name)() for name in PHOTOGRAPHS if hasattr(data, name)]
    return np.stack([cv2.resize(picture[:, :, :3], SIZE) for picture in found[:4]])


def rate(name: str, code: str, pictures: Path, given: argparse.Namespace) -> float:
    """Return images per second of processor time, measured in a process of its own."""
    python = given.albumentations if name == "albumentations" else sys.executable
    done = subprocess.run(
        [python, "-c", code + LOOP, str(pictures), str(REPEATS)],
        capture_output=True, text=True, check=True, env=os.environ | THREADS,
    )  # fmt: skip
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
