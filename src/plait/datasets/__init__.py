"""Public data sets: each names its activities and modalities and opens its own folder layout."""
