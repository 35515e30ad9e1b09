"""Divergences estimated from draws. They are asked for by name, and never stand in for a value."""

from ._gradients import fixed_sample_gradient as fixed_sample_gradient
from ._gradients import unbiased_gradient as unbiased_gradient
from ._monte_carlo import Estimate as Estimate
from ._monte_carlo import estimate as estimate
from ._sources import Unnormalised as Unnormalised
from ._tokens import kl_k1 as kl_k1
from ._tokens import kl_k2 as kl_k2
from ._tokens import kl_k3 as kl_k3
from ._tokens import unbiased_kl_loss as unbiased_kl_loss
