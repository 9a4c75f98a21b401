"""The one exception for mistakes the user can fix."""


class UserError(Exception):
    """Something outside the code is wrong: a parameter, a path, a cell of a table.

    It is shown without a traceback, so its text has to be enough: the place, what was expected there, what was
    found, and what to do. Anything else that is raised is a bug and keeps its traceback.

    Parameters
    ----------
    message : str
        Whole sentences, for instance
        ``"params.yaml: train.epochs must be an integer >= 1. Got '20'. Remove the quotes."``.
    """
