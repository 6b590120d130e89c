"""Inputs, targets, backbones, losses, the fitting, and the model as it is saved.

What others call:

- `saved.SavedModel.load(folder)` reads `data/model/` through LiteRT: `.task`, `.classes` (a tuple,
  empty unless classification), `.scale` (`Scale`: low, high, bins; or None), `.size_px`, and
  `.predict(images) -> (n, bins or classes) float32`, rows sum to 1; images are RGB uint8 of any
  size, as `lib.pixels.decode` gives them. `.task` is "none" when nothing was trained; `predict`
  then raises UserError. Of one class it returns (n, 1) float64, outlier scores, by `.scorer`;
  `.normal_class` and `.reference_classes` are the labels that evaluate needs.
- `saved.write_model(folder, model, card)` writes `model.keras`, `model.tflite` and `model.json`.
- `targets.from_ratings`, `targets.from_means` and `targets.one_hot` make the target distributions.
- `fitting.fit_model(train, validation, params, seed, scratch) -> Fitted` fits without any layout on
  disk: `train` and `validation` are `fitting.Examples(images, targets)`, `params` is `TrainParams`;
  `Fitted` has `.model` (keras), `.rule`, `.history` and `.predict(images)` as SavedModel's.
  `one_class.fit_one_class` takes the same, and returns `.scorer` as well.
"""
