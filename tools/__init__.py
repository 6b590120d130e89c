"""For maintainers: fitting the copy-detection network, writing the schema of the parameters."""
