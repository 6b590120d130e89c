"""How a model is fitted: examples, phases, steps, checkpoints."""
