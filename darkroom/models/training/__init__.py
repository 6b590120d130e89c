"""How a model is fitted: examples, features, phases, steps, checkpoints, live metrics."""
