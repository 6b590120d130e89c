"""The embedded sample: photographs of installed packages, with simulated ratings and copies."""
