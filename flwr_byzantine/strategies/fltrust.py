"""FLTrust as a strategy: the part that is the same in both Flower APIs."""

from functools import partial
from typing import Any

from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.fltrust import FLTrustAggregator
from flwr_byzantine.strategies.auxiliary import AuxiliaryStrategy


class FLTrust(AuxiliaryStrategy):
    r"""Trust in updates that point the way of the server's own, for any number of Byzantine clients.

    With :math:`u_i = w_i - w` the update of client i, and :math:`u_0` the server's own, from its small
    clean data set:

    .. math::

        t_i = \max\left(0, \frac{\langle u_i, u_0 \rangle}{|u_i| \, |u_0|}\right), \qquad
        w \leftarrow w + \frac{1}{\sum_i t_i} \sum_i t_i \frac{|u_0|}{|u_i|} u_i

    So no update moves the model by more than the length of the server's own, and one that points away
    from it has no part. Nothing is kept from round to round besides the model. A round's metrics hold the
    trust in each client, as ``byzantine/trust/<client>``; in the audit a client's share is
    :math:`t_i / \sum_j t_j`, and its score minus the cosine.

    Parameters
    ----------
    auxiliary : flwr_byzantine.reputation.auxiliary.AuxiliaryLoss
        Gradient on the server's own data, such as
        :class:`flwr_byzantine.reputation.auxiliary.TorchAuxiliaryLoss`. It is asked in a thread of its own
        while the clients compute; what it raises ends the round.
    server_steps : int
        Steps of gradient descent from w that lead to the server's own model :math:`w_s`, with
        :math:`u_0 = w_s - w`. The paper's server trains as its clients do, for :math:`R_l` steps. One step,
        the default, is a variant of it: :math:`u_0` is minus the learning rate times the gradient. All steps
        of a round have the round's minibatch, where the paper draws one for each. It has to be 1 where
        clients send gradients.
    learning_rate : float or Callable[[int], float]
        The size of these steps, :math:`\beta`; a number, or a function of the round. It decides how far
        the model moves in a round, and not who is trusted where there is one step. The paper takes that of
        the clients, which the server does not know, so pass it: together with their number of steps as
        `server_steps`, or times that number. By default it is 1, as in all strategies: :math:`u_0` is minus
        the gradient. Where clients send gradients, :math:`u_0` is minus the gradient too, and the model
        moves by minus the learning rate times the aggregate.
    **kwargs
        As for :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, without its rule.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `server_steps` is not 1 where clients send gradients.

    Notes
    -----
    A round is skipped where no client is trusted, and where :math:`u_0` is 0 or not finite: the model
    stays, and the log and the audit say why.

    An update that is not finite has no trust. Nor has one that is shorter than 1e-12 of the model: its
    direction is that of rounding errors. A cosine of at most 1e-12 counts as 0, for the same reason.

    The paper's global learning rate :math:`\alpha` is 1. Tensors without a gradient (BatchNorm's
    statistics, integers) stay as they are.

    References
    ----------
    Cao, Fang, Liu, Gong 2021, FLTrust: Byzantine-robust federated learning via trust bootstrapping (NDSS),
    section IV, algorithm 2.
    """

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        server_steps: int = 1,
        learning_rate: LearningRate = 1.0,
        **kwargs: Any,
    ) -> None:
        make = partial(FLTrustAggregator, auxiliary, server_steps=server_steps)
        super().__init__(make, learning_rate=learning_rate, **kwargs)
