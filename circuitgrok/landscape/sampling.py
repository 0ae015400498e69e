"""How to sample around a point: one frozen set of numbers, kept for a whole trajectory."""

import math
from collections.abc import Callable
from typing import Literal, get_args

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from circuitgrok.config.bounds import NUMBER
from circuitgrok.errors import UserError
from circuitgrok.samplers.geometry import FLAT, Geometry, Orthogonal, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.mala import mala
from circuitgrok.samplers.preconditioned import preconditioned_sgld
from circuitgrok.samplers.sghmc import sghmc
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Sampler, Target

SamplerName = Literal["sgld", "preconditioned_sgld", "sghmc", "mala", "hmc"]
GeometryName = Literal["free", "sphere", "no_radial", "no_gradient"]
MANY = 10**6  # of anything that is counted
DRAWS = 10**8  # of all chains of a point: 0.8 GB of losses


class Sampling(BaseModel):
    """Everything that an estimate of a learning coefficient depends on beside the network.

    Estimates at different settings are different numbers: compare only what was sampled alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_size: float = Field(gt=0, le=NUMBER, description="variance of the noise of a step, epsilon")
    localization: float = Field(ge=0, le=NUMBER, description="strength of the pull to the point, gamma")
    nbeta: float | None = Field(default=None, gt=0, le=NUMBER, description="by default n / ln n")
    sampler: SamplerName = Field(default="sghmc", description="which chain")
    friction: float = Field(default=0.2, gt=0, le=1, description="of sghmc; 1 is sgld")
    stability: float = Field(
        default=1.0, gt=0, le=NUMBER, description="of preconditioned_sgld: step_size over its largest step"
    )
    n_leapfrog: int = Field(
        default=10, ge=1, le=MANY, description="of hmc: gradients in one draw; see hmc on half turns"
    )
    geometry: GeometryName = Field(default="free", description="where chains may move")
    n_chains: int = Field(
        default=4, ge=1, le=MANY, description="independent chains at each point; one cannot know whether others agree"
    )
    n_draws: int = Field(default=200, ge=8, le=MANY, description="draws of each chain, burn-in included")
    n_burnin: int | None = Field(default=None, ge=0, description="draws thrown away; by default found from the draws")
    n_thin: int = Field(default=1, ge=1, le=MANY, description="sampler steps in one draw")
    batch_size: int | None = Field(default=None, ge=1, description="pairs in a gradient; by default all")
    parameters: str = Field(
        default="*",
        description="what moves: a role, a glob over tensors, or a head: blocks.0.attn.head.2",
    )
    on: str = Field(default="train", description="pairs that the loss is a mean over: a split, or all")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of every chain's noise")

    @model_validator(mode="after")
    def _makes_sense(self) -> "Sampling":
        if self.n_chains * self.n_draws > DRAWS:
            raise ValueError(
                f"n_chains times n_draws must be at most {DRAWS:,}, 0.8 GB of losses; got {self.n_chains} times "
                f"{self.n_draws}"
            )
        if self.n_burnin is not None and self.n_burnin >= self.n_draws:
            raise ValueError(
                f"n_burnin must be below n_draws, which counts the burn-in; got {self.n_burnin} of {self.n_draws}"
            )
        if self.batch_size is not None and self.sampler in ("mala", "hmc"):
            raise ValueError(f"{self.sampler} tests its proposals on the whole loss; leave batch_size out, or use sgld")
        if self.sampler == "preconditioned_sgld" and self.geometry != "free":
            raise ValueError(f"preconditioned_sgld moves freely only; got geometry {self.geometry!r}")
        if self.sampler == "preconditioned_sgld" and not self.n_burnin:
            raise ValueError("preconditioned_sgld learns its step sizes during the burn-in; give n_burnin, 1 or more")
        return self

    def inverse_temperature(self, n_examples: int) -> float:
        """nbeta: the one given, or n / ln n, n the number of training examples.

        Raises:
            UserError: None is given, and there is one example.

        >>> round(Sampling(step_size=1e-4, localization=1.0).inverse_temperature(1000), 1)
        144.8
        """
        if self.nbeta is not None:
            return self.nbeta
        if n_examples < 2:
            raise UserError(f"n / ln n is no temperature for {n_examples} training example: give nbeta")
        return n_examples / math.log(n_examples)

    def stability_bound(self, curvature: float, nbeta: float) -> float:
        """Step size from which a chain runs away in a quadratic of that curvature.

        U has curvature k = nbeta h + gamma there; a Langevin or leapfrog step is stable below 4 / k, and with
        friction f below 4 (2 - f) / k; preconditioned steps are step_size / stability at most.

        >>> Sampling(step_size=1e-4, localization=10.0, sampler="sgld").stability_bound(3.0, 10.0)
        0.1
        """
        slack = {"sghmc": 2 - self.friction, "preconditioned_sgld": self.stability}.get(self.sampler, 1.0)
        return 4 * slack / (nbeta * max(curvature, 0.0) + self.localization)


SAMPLERS: dict[SamplerName, Callable[[Target, Sampling, Geometry], Sampler]] = {
    "sgld": lambda target, s, geometry: sgld(target, step_size=s.step_size, geometry=geometry),
    "preconditioned_sgld": lambda target, s, geometry: preconditioned_sgld(
        target, step_size=s.step_size, stability=s.stability, n_adapt=(s.n_burnin or 1) * s.n_thin, geometry=geometry
    ),
    "sghmc": lambda target, s, geometry: sghmc(target, step_size=s.step_size, friction=s.friction, geometry=geometry),
    "mala": lambda target, s, geometry: mala(target, step_size=s.step_size, geometry=geometry),
    "hmc": lambda target, s, geometry: hmc(target, step_size=s.step_size, n_leapfrog=s.n_leapfrog, geometry=geometry),
}
GEOMETRIES: dict[
    GeometryName, Callable[[Float[Tensor, "chain dim"], Float[Tensor, "chain dim"]], Geometry]
] = {  # of the centre and of the loss's gradient there
    "free": lambda centre, gradient: FLAT,
    "sphere": lambda centre, gradient: Sphere(),
    "no_radial": lambda centre, gradient: Orthogonal(centre),
    "no_gradient": lambda centre, gradient: Orthogonal(gradient),
}
assert set(SAMPLERS) == set(get_args(SamplerName)) and set(GEOMETRIES) == set(get_args(GeometryName))
