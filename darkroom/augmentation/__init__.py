"""New training images: operations that keep labels true, and how they are drawn."""
