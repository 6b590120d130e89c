"""What a person runs, beside the pipeline: `darkroom COMMAND`, or `python -m darkroom COMMAND`."""
