"""New training images: label-preserving operations, and how they are drawn."""
