"""The stages of the pipeline, one script each; `dvc.yaml` has their order."""
