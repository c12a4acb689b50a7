"""Encoders: plain modules from a clip tensor to a channels-last grid of features."""
