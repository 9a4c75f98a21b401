"""Which values a search tries next: Optuna's sampler, which learns from the losses of earlier trials."""

from typing import Any

from posterity.errors import UserError
from posterity.searching.space import Choices, Dimension, Space, Value


class Study:
    """Asks for values and is told their loss, in turn.

    The values come from a tree-structured Parzen estimator [1] in Optuna [2]; the first ten trials are drawn at random.
    The same space, seed and losses give the same values, so that an interrupted study is continued by asking and
    telling again.

    Parameters
    ----------
    space : Space
        The parameters to search.
    seed : int
        Of the draws: 0 to 2**32 - 1.

    Raises
    ------
    UserError
        If Optuna is not installed.

    References
    ----------
    [1] Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization, NeurIPS.
    [2] Akiba et al. (2019), Optuna: A Next-generation Hyperparameter Optimization Framework, KDD.
    """

    def __init__(self, space: Space, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise UserError(
                "posterity search needs the package optuna, which is not installed. "
                "Run `pip install -c requirements.lock -e '.[search]'`."
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space = {dimension.key: dimension for dimension in space}
        self._distributions = {dimension.key: self._distribution(dimension) for dimension in space}
        self._study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._trial: Any = None

    def ask(self) -> dict[str, Value]:
        """Values for the next trial, by dotted key."""
        self._trial = self._study.ask(self._distributions)
        values = {}
        for key, dimension in self._space.items():
            value = self._trial.params[key]
            values[key] = value if isinstance(dimension, Choices) else dimension.nearest(value)
        return values

    def tell(self, loss: float | None) -> None:
        """Say what the loss of the trial is that was asked for last; None = it has none."""
        if loss is None:
            self._study.tell(self._trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trial, loss)

    def _distribution(self, dimension: Dimension) -> Any:
        distributions = self._optuna.distributions
        if isinstance(dimension, Choices):
            return distributions.CategoricalDistribution(dimension.values)
        if dimension.is_integer:
            step = 1 if dimension.step is None else int(dimension.step)
            return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
