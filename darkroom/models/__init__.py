"""Inputs, targets, backbones, heads, losses, the fitting, and the model as it is saved."""
