"""Inputs, backbones, heads and losses."""
