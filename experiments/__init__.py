"""The lab book: one runnable module per page, `python -m experiments.<name> --flags`.

What a page of a user command does stands, with its flags, in `r1jax/commands/<name>.py`.
"""

import r1jax  # noqa: F401  it says where a module that has moved is now
