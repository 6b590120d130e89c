"""The settings of `params.yaml`: one module and one strict model per section."""
