"""Batch normalisation with fixed statistics, folded into the convolution before it.

Such a normalisation is y ↦ γ (y − μ) / sqrt(σ² + ε) + β per channel, with y = W ∗ x + b. Equal is
(s W) ∗ x + (s (b − μ) + β) with s = γ / sqrt(σ² + ε) (Jacob et al. 2018, arXiv 1712.05877,
equation 14). Two passes over every feature map, and two more on the way back, are spared, and
TensorFlow joins what is left with the activation behind it. The variables stay the model's own: a
gradient reaches W, γ and β as before, and what is saved is the model that was given.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def fold_batch_norm(model: "keras.Model", training: bool) -> "keras.Model":
    """Return a quicker network with the same variables and, up to rounding, the same outputs.

    With `training` only a normalisation that is frozen has fixed statistics, else each has.
    """
    import keras

    normal, sequential = keras.layers.BatchNormalization, keras.Sequential
    convolved: dict[int, tuple[Any, Any, Any]] = {}  # of an output: itself, its layer, its input

    def call(layer: Any, *inputs: Any, **settings: Any) -> Any:
        if isinstance(layer, keras.Model) and not isinstance(layer, sequential):
            return fold_batch_norm(layer, training)(*inputs, **settings)
        fixed = isinstance(layer, normal) and not (training and layer.trainable)
        if fixed and id(inputs[0]) in convolved:
            _, convolution, image = convolved[id(inputs[0])]
            return _folded(convolution, layer)(image)
        output = layer(*inputs, **settings)
        if _foldable(layer):
            convolved[id(output)] = output, layer, inputs[0]
        return output

    if isinstance(model, sequential):
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _foldable(layer: Any) -> bool:
    import keras

    kinds = keras.layers.Conv2D, keras.layers.DepthwiseConv2D
    return (
        type(layer) in kinds
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    )


def _folded(convolution: Any, normal: Any) -> Any:
    """Return one layer in place of two: (n, h, w, c) → (n, h', w', filters)."""
    import keras
    import tensorflow as tf
    from keras import ops

    wide = type(convolution) is keras.layers.DepthwiseConv2D
    run = ops.depthwise_conv if wide else ops.conv
    dtype = convolution.compute_dtype

    def convolve(image: Any) -> Any:
        scale = ops.rsqrt(normal.moving_variance + normal.epsilon)  # (filters,)
        scale = scale * normal.gamma if normal.scale else scale
        bias = convolution.bias if convolution.use_bias else 0.0
        shift = (bias - normal.moving_mean) * scale + (normal.beta if normal.center else 0.0)
        kernel = convolution.kernel  # (h, w, c, filters), depthwise (h, w, c, multiplier)
        kernel = kernel * (ops.reshape(scale, kernel.shape[2:]) if wide else scale)
        maps = run(
            ops.cast(image, dtype), ops.cast(kernel, dtype), strides=convolution.strides,
            padding=convolution.padding, dilation_rate=convolution.dilation_rate,
        )  # fmt: skip
        # TensorFlow joins BiasAdd with the convolution, unlike a plain sum.
        return tf.nn.bias_add(maps, ops.cast(shift, dtype))

    # Float32 here, whatever the policy, so that the kernel is rounded once, when it is whole.
    name = f"{normal.name}_folded"
    return keras.layers.Lambda(convolve, name=name, dtype="float32", autocast=False)
