"""Rows that are made of other rows: averages, mixtures, stacks, ensembles."""
