"""What a set of sampling numbers refuses, and what follows from it."""

import math

import pytest
from loops import for_each
from pydantic import ValidationError

from circuitgrok.landscape.sampling import GEOMETRIES, SAMPLERS, Sampling

GOOD = {"step_size": 1e-4, "localization": 100.0}


@for_each(
    ("wrong", "message"),
    [
        ({"nbeta": 0.0}, "nbeta\n.*greater than 0"),
        ({"nbeta": math.nan}, "nbeta"),
        ({"localization": -1.0}, "localization\n.*greater than or equal to 0"),
        ({"step_size": 0.0}, "step_size\n.*greater than 0"),
        ({"step_size": math.inf}, "step_size\n.*less than or equal to 1000"),
        ({"n_draws": 100, "n_burnin": 100}, "n_burnin must be below n_draws.*got 100 of 100"),
        ({"sampler": "nuts"}, "'sgld', 'preconditioned_sgld', 'sghmc', 'mala' or 'hmc'"),
        ({"geometry": "torus"}, "'free', 'sphere', 'no_radial' or 'no_gradient'"),
        ({"friction": 1.5}, "friction\n.*less than or equal to 1"),
        ({"sampler": "hmc", "batch_size": 8}, "hmc tests its proposals on the whole loss"),
        ({"sampler": "preconditioned_sgld", "n_burnin": 5, "geometry": "sphere"}, "moves freely only"),
        ({"sampler": "preconditioned_sgld"}, "give n_burnin"),
        ({"n_chain": 4}, "n_chain\n.*[Ee]xtra"),
    ],
)
def test_bad_numbers_are_refused_with_the_rule(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Sampling.model_validate(GOOD | wrong)


def test_nbeta_is_n_over_ln_n_of_the_training_set_unless_it_is_given():
    usual = Sampling.model_validate(GOOD)
    assert usual.inverse_temperature(420) == pytest.approx(420 / math.log(420), rel=1e-15)
    assert usual.model_copy(update={"nbeta": 7.0}).inverse_temperature(420) == 7.0


def test_every_sampler_and_geometry_that_can_be_named_is_there():
    fields = Sampling.model_json_schema()["properties"]
    assert fields["sampler"]["enum"] == list(SAMPLERS) and fields["geometry"]["enum"] == list(GEOMETRIES)
