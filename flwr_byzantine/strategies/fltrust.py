"""FLTrust as a strategy: the part that is the same in both Flower APIs."""

from functools import partial
from typing import Any

from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.fltrust import FLTrustAggregator
from flwr_byzantine.strategies.auxiliary import AuxiliaryStrategy


class FLTrust(AuxiliaryStrategy):
    r"""Mean weighed by the cosine with the server's own update, for any number of Byzantine clients.

    With :math:`u_i = w_i - w` the update of client i, and :math:`u_0` the server's own, from its small
    clean data set:

    .. math::

        t_i = \max\left(0, \frac{\langle u_i, u_0 \rangle}{|u_i| \, |u_0|}\right), \qquad
        w \leftarrow w + \frac{1}{\sum_i t_i} \sum_i t_i \frac{|u_0|}{|u_i|} u_i

    So no update moves the model farther than the length of the server's own update. An update whose cosine
    with the server's own is negative has the weight 0. Nothing is kept from round to round besides the
    model. A round's metrics hold the trust in each client, as ``byzantine/trust/<client>``. In the audit, a
    client's share is :math:`t_i / \sum_j t_j`, and its score is minus the cosine.

    Parameters
    ----------
    auxiliary : flwr_byzantine.reputation.auxiliary.AuxiliaryLoss
        The gradient on the server's own data, such as
        :class:`flwr_byzantine.reputation.auxiliary.TorchAuxiliaryLoss`. It is computed in another thread
        while the clients work. If it raises an error, the round ends with that error.
    server_steps : int
        The number of steps of gradient descent that lead from w to the server's own model :math:`w_s`, with
        :math:`u_0 = w_s - w`. The paper's server trains as its clients do, for :math:`R_l` steps. The
        default of one step is a variant of this: :math:`u_0` is minus the learning rate times the gradient.
        All steps of a round use the same minibatch. The paper draws a new one for each step. If clients send
        gradients, this number has to be 1.
    learning_rate : float or Callable[[int], float]
        The size of these steps, :math:`\beta`: a number, or a function of the round. It decides how far the
        model moves in a round. With one step, it does not change who is trusted. The paper takes the
        clients' learning rate. The server does not know this rate, so pass it. Pass also the clients' number
        of steps as `server_steps`, or multiply the rate by that number. The default is 1, as in all
        strategies. Then :math:`u_0` is minus the gradient. If clients send gradients, :math:`u_0` is minus
        the gradient too, and the model moves by minus the learning rate times the aggregate.
    **kwargs
        See :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`. There is no rule.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if clients send gradients and `server_steps` is not 1.

    Notes
    -----
    A round is skipped if no client is trusted, or if :math:`u_0` is 0 or not finite. Then the model does not
    change, and the log and the audit say why.

    An update that is not finite has the trust 0. So has an update that is shorter than 1e-12 of the model,
    because rounding errors decide its direction. For the same reason, a cosine of at most 1e-12 counts as 0.

    The paper's global learning rate :math:`\alpha` is 1. Tensors without a gradient (BatchNorm's
    statistics, integers) do not change.

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
