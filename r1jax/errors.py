"""The one exception a user causes: printed as a single line, exit status 2."""


class UserError(Exception):
    """A mistake in flags or files.

    The message is one line that names the flag or file, what is wrong and what would be right.
    Experiment modules print it without a traceback and exit with status 2.
    """
