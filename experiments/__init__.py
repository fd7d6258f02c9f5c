"""One runnable module per page of the lab book: `python -m experiments.<name> --flags`."""
