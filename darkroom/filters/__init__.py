"""The filter bank, and the filters that prepare the input of a model."""
