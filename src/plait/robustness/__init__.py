"""A finished study under sensors that fail: no training, its networks on test clips that are made worse."""
