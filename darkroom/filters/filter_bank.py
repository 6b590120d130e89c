"""The filter bank: smoothing, edges, frequencies, speckle, binary noise, compression.

Every filter maps one plane, (height, width) uint8, to another; `darkroom.filters.preprocess` says
on which planes of a picture it works. Edges of the picture are mirrored without repeating the last
pixel (OpenCV's BORDER_REFLECT_101) unless the filter says otherwise. A filter whose response has a
sign (`laplacian`, `laplacian_of_gaussian` and the high passes) gives 128 for no response.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (height, width)
NO_RESPONSE = 128


def mean(plane: Plane, size_px: int) -> Plane:
    """Return the mean over a square of `size_px`, odd."""
    return np.asarray(cv2.blur(plane, (size_px, size_px)), np.uint8)


def gaussian(plane: Plane, sigma_px: float) -> Plane:
    """Return the mean weighted by a Gaussian, cut at about four sigma."""
    size = 2 * round(4 * sigma_px) + 1
    return np.asarray(cv2.GaussianBlur(plane, (size, size), sigma_px), np.uint8)


def median(plane: Plane, size_px: int) -> Plane:
    """Return the median over a square of `size_px`, odd; edges repeat their last pixel."""
    return np.asarray(cv2.medianBlur(plane, size_px), np.uint8)


def conservative(plane: Plane, size_px: int) -> Plane:
    """Limit each pixel to the range of its neighbours, in a square of `size_px`, odd.

    So a lone speck goes, and an edge stays as it is (HIPR2, "Conservative Smoothing"). At the edges
    of the picture only neighbours inside count.

    >>> conservative(np.array([[5, 5, 5], [5, 90, 6], [5, 5, 5]], np.uint8), 3)[1, 1]
    np.uint8(6)
    """
    if plane.size == 1:
        return plane.copy()
    around = np.ones((size_px, size_px), np.uint8)
    around[size_px // 2, size_px // 2] = 0
    # Morphology with a hole in the middle; OpenCV's own border value never wins.
    low, high = cv2.erode(plane, around), cv2.dilate(plane, around)
    return np.clip(plane, low, high)


def laplacian(plane: Plane, gain: float) -> Plane:
    """Return 128 + gain · (the sum of the four neighbours minus four times the pixel)."""
    return _signed(gain * cv2.Laplacian(plane, cv2.CV_32F, ksize=1))


def laplacian_of_gaussian(plane: Plane, sigma_px: float, gain: float) -> Plane:
    """Return 128 + gain · sigma² · ∇²(Gaussian of sigma ∗ plane), so that scales compare.

    The factor sigma² is Lindeberg's normalisation (1998, "Feature detection with automatic scale
    selection", section 4). Sampled and cut off, the kernel does not quite sum to 0, so that its sum
    is taken from the middle: a plain has no response.
    """
    values = plane.astype(np.float32)
    from scipy import ndimage  # 0.3 s, which predict need not spend

    response = ndimage.gaussian_laplace(values, sigma_px, mode="mirror")
    response -= values * ndimage.gaussian_laplace(np.ones((1, 1)), sigma_px, mode="mirror").item()
    return _signed(gain * sigma_px**2 * response)


def unsharp(plane: Plane, sigma_px: float, amount: float) -> Plane:
    """Return plane + amount · (plane - its Gaussian): edges stand out, noise as well."""
    sharp = plane.astype(np.float32)
    smooth = cv2.GaussianBlur(sharp, (0, 0), sigma_px)
    return _rounded(sharp + amount * (sharp - smooth))


def ideal_low_pass(plane: Plane, cutoff: float) -> Plane:
    """Keep the frequencies up to `cutoff`, in cycles per pixel; sharp edges ring."""
    return _filter_frequencies(plane, lambda radius: radius <= cutoff, 0)


def ideal_high_pass(plane: Plane, cutoff: float) -> Plane:
    """Keep the frequencies above `cutoff`, in cycles per pixel, around 128; sharp edges ring."""
    return _filter_frequencies(plane, lambda radius: radius > cutoff, NO_RESPONSE)


def butterworth_low_pass(plane: Plane, cutoff: float, order: int) -> Plane:
    """Weight each frequency f by 1 / sqrt(1 + (f / cutoff)^(2 order)): the half power at cutoff.

    Butterworth (1930), "On the theory of filter amplifiers". `cutoff` in cycles per pixel.
    """
    return _filter_frequencies(plane, lambda radius: _butterworth(radius / cutoff, order), 0)


def butterworth_high_pass(plane: Plane, cutoff: float, order: int) -> Plane:
    """Weight each frequency f by 1 / sqrt(1 + (cutoff / f)^(2 order)), around 128."""

    def weight(radius: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(cutoff, radius, out=np.full_like(radius, np.inf), where=radius > 0)
        return _butterworth(ratio, order)

    return _filter_frequencies(plane, weight, NO_RESPONSE)


def crimmins(plane: Plane, iterations: int) -> Plane:
    """Remove speckle by Crimmins' complementary hulling, four directions per iteration.

    Crimmins (1985), "Geometric filter for speckle reduction", Applied Optics 24(10), as HIPR2
    writes it down: dark pixels are raised by four rules in each direction, then light ones lowered
    by four. Each rule looks at the whole plane as the rule before has left it. The outermost pixels
    of a direction have no two neighbours in it and stay.

    >>> spike = np.zeros((5, 5), np.uint8); spike[2, 2] = 40
    >>> int(crimmins(spike, 1).max()), int(crimmins(spike, 2).max())
    (24, 8)
    """
    values = plane.astype(np.int16)
    for _ in range(iterations):
        for _shade in ("dark", "light"):
            for down, right in ((1, 0), (0, 1), (1, 1), (1, -1)):
                _hull(values, down, right)
            np.negative(values, out=values)  # the rules for light pixels are those for dark ones
    return values.astype(np.uint8)


def _hull(values: NDArray[np.int16], down: int, right: int) -> None:
    """Raise dark pixels b between a and c, their neighbours in one direction, in place."""
    height, width = values.shape
    if height <= 2 * down or width <= 2 * abs(right):
        return
    a, b, c = (
        values[
            down + step * down : height - down + step * down,
            abs(right) + step * right : width - abs(right) + step * right,
        ]
        for step in (-1, 0, 1)
    )
    b += a >= b + 2
    b += (a > b) & (b <= c)
    b += (c > b) & (b <= a)
    b += c >= b + 2


def ising(plane: Plane, coupling: float, flipped: float, sweeps: int, seed: int = 0) -> Plane:
    """Clean a binary picture: 0 or 255 by the more probable state of each pixel.

    The model: spins x of ±1 that prefer their four neighbours' state, seen as y through noise that
    flips each with the probability `flipped`: p(x | y) ∝ exp(coupling · Σ xᵢxⱼ + field · Σ xᵢyᵢ)
    with field = ½ ln((1 - flipped) / flipped). Sampled by Gibbs' sweeps over the two colours of a
    checkerboard, whose pixels do not touch (Geman and Geman 1984, "Stochastic relaxation, Gibbs
    distributions, and the Bayesian restoration of images"). The conditional means, averaged over
    the second half of the sweeps, give the marginals (Rao-Blackwell), and their sign the result.
    A picture with more than two values is cut at Otsu's threshold first.
    """
    _, cut = cv2.threshold(plane, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    field = 0.5 * np.log((1 - flipped) / flipped) * (2 * cut.astype(np.float32) - 1)
    spins = np.pad(2 * cut.astype(np.float32) - 1, 1)  # a border of 0: no neighbour, no pull
    total = np.zeros_like(field)
    rng = np.random.default_rng(seed)
    colours = np.indices(plane.shape).sum(axis=0) % 2 == 0
    for sweep in range(sweeps):
        for colour in (colours, ~colours):
            pull = spins[:-2, 1:-1] + spins[2:, 1:-1] + spins[1:-1, :-2] + spins[1:-1, 2:]
            mean_spin = np.tanh(coupling * pull + field)  # E[x | neighbours, y]
            drawn = np.where(rng.random(plane.shape, np.float32) * 2 - 1 < mean_spin, 1, -1)
            np.copyto(spins[1:-1, 1:-1], drawn, where=colour, casting="unsafe")
            if 2 * sweep >= sweeps:
                total += np.where(colour, mean_spin, 0)
    return np.where(total > 0, 255, 0).astype(np.uint8)


def principal_components(plane: Plane, components: int) -> Plane:
    """Compress: keep the first principal components of the rows, see `compress`."""
    return compress(plane, components)[0]


def compress(plane: Plane, components: int) -> tuple[Plane, float]:
    """Return the plane rebuilt from its first components, and the share of variance they explain.

    Rows are the observations, columns the variables, as in Pearson (1901); by the singular values
    of the centred plane (Eckart and Young 1936: no other plane of that rank is nearer). A plane
    without variance is explained by any number of components.

    >>> flat = np.full((4, 6), 9, np.uint8)
    >>> (compress(flat, 1)[0] == flat).all(), compress(flat, 1)[1]
    (np.True_, 1.0)
    """
    values = plane.astype(np.float64)
    average = values.mean(axis=0)
    u, s, vt = np.linalg.svd(values - average, full_matrices=False)
    rebuilt = (u[:, :components] * s[:components]) @ vt[:components] + average
    everything = float((s**2).sum())
    explained = float((s[:components] ** 2).sum()) / everything if everything else 1.0
    return _rounded(rebuilt), explained


def _butterworth(ratio: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # infinity divides to 0
        return 1 / np.sqrt(1 + ratio ** (2 * order))


def _filter_frequencies(
    plane: Plane, weight: Callable[[NDArray[np.float64]], NDArray[np.generic]], offset: int
) -> Plane:
    """Multiply the spectrum by `weight` of the frequency in cycles per pixel.

    The plane is mirrored to twice its sides first: the transform takes it for periodic, and a jump
    from the right edge to the left one would ring.
    """
    import scipy.fft  # 0.3 s, which predict need not spend

    height, width = plane.shape
    whole = np.pad(plane.astype(np.float32), ((0, height), (0, width)), mode="symmetric")
    down = scipy.fft.fftfreq(2 * height)[:, None]
    across = scipy.fft.rfftfreq(2 * width)
    spectrum = scipy.fft.rfft2(whole) * weight(np.hypot(down, across))
    filtered = scipy.fft.irfft2(spectrum, whole.shape)[:height, :width]
    return _rounded(filtered + offset)


def _signed(response: NDArray[np.floating]) -> Plane:
    return _rounded(response + NO_RESPONSE)


def _rounded(values: NDArray[np.floating]) -> Plane:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
