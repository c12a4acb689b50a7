"""Networks on their way: built, trained fold by fold, each fold in a plain loop over epochs."""
