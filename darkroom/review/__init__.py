"""The page on which a person reviews what clean and dedupe decided, and its server."""
