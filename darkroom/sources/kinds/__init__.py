"""One module per kind of source: folder, URL list, archive, WebDataset."""
