"""From the bytes of an image to its pixels: formats, decoding, colours, size."""
