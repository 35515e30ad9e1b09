"""Lower bounds on divergences from the scores of a critic, and the convex conjugates they need."""

from ._bounds import donsker_varadhan_bound as donsker_varadhan_bound
from ._bounds import info_nce_bound as info_nce_bound
from ._bounds import js_bound as js_bound
from ._bounds import nwj_bound as nwj_bound
from ._bounds import smile_estimate as smile_estimate
from ._bounds import variational_bound as variational_bound
from ._conjugates import conjugate as conjugate
from ._conjugates import conjugate_domain as conjugate_domain
from ._conjugates import optimal_critic as optimal_critic
from ._conjugates import output_activation as output_activation
