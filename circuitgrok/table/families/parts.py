"""Columns that look at neurons and heads of the last block, and at which algorithm they make up.

Neurons are taken at the last position over all p² pairs (a, b); w_k = 2πk/p.
"""

import math

from circuitgrok.table.family import ANY, COSINE, NOT_NEGATIVE, SHARE, Family

_NEURONS = "measures/parts/neurons.py"
_TUNING = "measures/spectra/tuning.py"
_COMPLEXITY = "measures/spectra/complexity.py"
_ATTENTION = "measures/parts/attention.py"
_PIZZA = "measures/parts/clock_pizza.py"
_FORMS = "measures/parts/logit_forms.py"
_ZHONG = "arXiv:2306.17844"

NEURONS = (
    Family(
        "neuron_purity",
        "Mean over the neurons of the share of a neuron's variance in the eight products of {1, cos w_k, sin w_k} of a "
        "and of b, of its best frequency.",
        "1", SHARE, "arXiv:2301.05217, 4.2", ("neurons",), _TUNING,
    ),
    Family(
        "pure_neurons",
        "Share of the neurons of purity 0.85 or more.",
        "1", SHARE, "arXiv:2301.05217, 4.2", ("neurons",), _NEURONS,
    ),
    Family(
        "phase_alignment",
        "Resultant |mean exp i(out − u − v)| over pure neurons, of the phases that they read and write: 1 if solved, "
        "about √(π/4n) for n random ones, nan for none.",
        "1", SHARE, "arXiv:2301.02679", ("neurons",), _NEURONS,
    ),
    Family(
        "cluster_size[k]",
        "Number of pure neurons tuned to a key frequency.",
        "neurons", NOT_NEGATIVE, "arXiv:2301.05217, 4.2", ("neurons",), _NEURONS,
    ),
    Family(
        "direction_fve_mean",
        "How much of what the neurons write along the waves of W_L is a sum wave of one frequency: mean over the "
        "cosine and sine of the key frequencies.",
        "1", SHARE, "arXiv:2301.05217, 4.2", ("neurons",), _COMPLEXITY,
    ),
    Family(
        "direction_fve_min",
        "The smallest of these.",
        "1", SHARE, "arXiv:2301.05217, 4.2", ("neurons",), _COMPLEXITY,
    ),
    Family(
        "neuron_share[single]",
        "Share of the variance of all neurons in waves of a alone and of b alone, of the key frequencies.",
        "1", SHARE, "here", ("neurons",), _TUNING,
    ),
    Family(
        "neuron_share[sums]",
        "The same in waves of a + b.",
        "1", SHARE, "here", ("neurons",), _TUNING,
    ),
    Family(
        "neuron_share[differences]",
        "The same in waves of a − b.",
        "1", SHARE, "here", ("neurons",), _TUNING,
    ),
)  # fmt: skip

ATTENTION = (
    Family(
        "attention[head h, position]",
        "Mean attention of a head of the last block from the last position.",
        "1", SHARE, "here", ("attention",), _ATTENTION,
    ),
    Family(
        "attention_entropy[head h]",
        "Mean over the pairs of its entropy: 0 for one position, ln 3 at most.",
        "nats", (0.0, math.log(3)), "here", ("attention",), _ATTENTION,
    ),
    Family(
        "head_freq[head h]",
        "Frequency k whose α(cos w_k a − cos w_k b) + β(sin w_k a − sin w_k b) explains most of score(a) − score(b); 0 "
        "for a head that does not vary.",
        "frequency", NOT_NEGATIVE, "arXiv:2301.05217, 4.3", ("attention",), _ATTENTION,
    ),
    Family(
        "head_fve[head h]",
        "Share of the variance of score(a) − score(b) that it explains.",
        "1", SHARE, "arXiv:2301.05217, 4.3", ("attention",), _ATTENTION,
    ),
)  # fmt: skip

FORMS = (
    Family(
        "gradient_symmetricity",
        "Mean cosine of the gradients of a logit by the embeddings of a and of b, over 100 random triples (a, b, c).",
        "1", COSINE, f"{_ZHONG}, 4.1", ("forms",), _PIZZA,
    ),
    Family(
        "gradient_symmetricity_se",
        "Its standard error over the triples.",
        "1", NOT_NEGATIVE, "here", ("forms",), _PIZZA,
    ),
    Family(
        "distance_irrelevance",
        "Standard deviation of the right logit among pairs of equal a − b, averaged, over that among all pairs.",
        "1", SHARE, f"{_ZHONG}, 4.2", ("forms",), _PIZZA,
    ),
    Family(
        "circularity",
        "Share of the strongest frequency in the energy of each of the first four principal components of W_E, mean.",
        "1", SHARE, f"{_ZHONG}, appendix", ("forms",), _PIZZA,
    ),
    Family(
        "is_pizza",
        "1 if symmetricity is above 0.98 and irrelevance below 0.6, else 0; nan while the network errs on some pair.",
        "1", SHARE, f"{_ZHONG}, 4", ("forms",), _PIZZA,
    ),
    Family(
        "frac_pizza",
        "Share of the logits' variance in Σ β_k |cos(w_k(a − b)/2)| cos w_k(a + b − c): R² of least squares.",
        "1", SHARE, f"{_ZHONG}, 3", ("forms",), _FORMS,
    ),
    Family(
        "frac_clock_and_pizza",
        "Share of the logits' variance in that form and the clock's, Σ α_k cos w_k(a + b − c), fitted together.",
        "1", SHARE, f"{_ZHONG}, 3", ("forms",), _FORMS,
    ),
    Family(
        "pizza_coefficient[k]",
        "Coefficient β_k of the pizza form, fitted alone.",
        "logits", ANY, f"{_ZHONG}, 3", ("forms",), _FORMS,
    ),
)  # fmt: skip

CIRCLES = (
    Family(
        "circle_pizza[k]",
        "R² of the pizza form in the logits of the network with the one circle k left in its embedding.",
        "1", SHARE, f"{_ZHONG}, 3", ("circles",), _FORMS,
    ),
    Family(
        "circle_clock[k]",
        "R² of the clock form in the same logits.",
        "1", SHARE, f"{_ZHONG}, 3", ("circles",), _FORMS,
    ),
    Family(
        "accompanying_pizza[k]",
        "R² of cos(w_k(a − b)) cos w_k(a + b − c) in the logits with the one circle 2k left: what helps a pizza's thin "
        "slices out.",
        "1", SHARE, "here", ("circles",), _FORMS,
    ),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = NEURONS + ATTENTION + FORMS + CIRCLES
