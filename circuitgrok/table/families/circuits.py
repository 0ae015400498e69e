"""Columns that look at logits: loss in full, of the circuit alone and without it, margins, memories, ablations.

Logits are over the p numbers as classes ('=' is dropped) and divided by the temperature of the loss; P_S projects
them on the sum waves cos w_k(a + b), sin w_k(a + b) of the key frequencies, w_k = 2πk/p.
"""

from circuitgrok.table.family import ANY, COSINE, NOT_NEGATIVE, SHARE, Family

_RESTRICTED = "measures/circuits/restricted.py"
_EXPLAINED = "measures/circuits/explained.py"
_CONTROLS = "measures/circuits/controls.py"
_MEMORY = "measures/learning/memorization.py"
_ABLATIONS = "measures/circuits/ablations.py"
_NANDA = "arXiv:2301.05217, 5.1"

SCORES = (
    Family(
        "loss[split]",
        "Mean cross-entropy over the p numbers; in group scores the trained loss, penalties apart, over the classes "
        "that were trained on.",
        "nats; of mean squares, squared outputs", NOT_NEGATIVE, "here", ("circuits", "scores"),
        "interventions/losses.py",
    ),
    Family(
        "accuracy[split]",
        "Share of right answers; of a regression, of examples whose mean squared error is below the task's tolerance.",
        "1", SHARE, "here", ("circuits", "scores"), "interventions/losses.py",
    ),
    Family(
        "logit_scale",
        "Mean |z| of the logits, each pair's mean over the classes taken out.",
        "logits", NOT_NEGATIVE, "here", ("scale", "scores"), "measures/scores.py",
    ),
    Family(
        "logit_std",
        "Root mean square of the same.",
        "logits", NOT_NEGATIVE, "here", ("scale", "scores"), "measures/scores.py",
    ),
    Family(
        "margin_mean[side]",
        "Right logit less the best of the others, mean over the pairs.",
        "logits", ANY, "here", ("scale", "scores"), "measures/scores.py",
    ),
    Family(
        "margin_min[side]",
        "The smallest of these: above 0 where every pair is answered right.",
        "logits", ANY, "here", ("scale", "scores"), "measures/scores.py",
    ),
)  # fmt: skip

CIRCUITS = (
    Family(
        "restricted_loss[split]",
        "Loss of P_S L plus the mean logit of each class; a finished circuit loses nothing. Means little where the key "
        "set is not sparse.",
        "nats", NOT_NEGATIVE, _NANDA, ("circuits",), _RESTRICTED,
    ),
    Family(
        "restricted_loss_no_mean[split]",
        "Loss of P_S L alone.",
        "nats", NOT_NEGATIVE, "arXiv:2301.05217, code", ("circuits",), _RESTRICTED,
    ),
    Family(
        "excluded_loss[split]",
        "Loss of L − P_S L, all key frequencies taken out at once; on train it falls while memorising, then rises.",
        "nats", NOT_NEGATIVE, _NANDA, ("circuits",), _RESTRICTED,
    ),
    Family(
        "restricted_act_loss[split]",
        "Restricted loss with the sum waves taken at the neurons and sent on to the logits; no LayerNorm behind them.",
        "nats", NOT_NEGATIVE, "TransformerLens, Grokking_Demo", ("circuits",), _RESTRICTED,
    ),
    Family(
        "excluded_act_loss[split]",
        "Excluded loss with the sum waves taken out of the neurons alone: the residual stream around them stays.",
        "nats", NOT_NEGATIVE, "TransformerLens, Grokking_Demo", ("circuits",), _RESTRICTED,
    ),
    Family(
        "excluded_loss[k]",
        "Loss on train without the sum waves of one key frequency.",
        "nats", NOT_NEGATIVE, "arXiv:2301.05217, code", ("circuits",), _RESTRICTED,
    ),
    Family(
        "restricted_loss[k]",
        "Loss on all pairs from the sum waves of one key frequency and the mean logit.",
        "nats", NOT_NEGATIVE, "arXiv:2301.05217, code", ("circuits",), _RESTRICTED,
    ),
    Family(
        "restricted_loss_unseen",
        "Loss of the key frequencies' sum waves and a constant, fitted to the unseen pairs (neither they nor their "
        "mirrors trained on) and scored there; for a look-up table at least ln p in the mean, whatever the key set.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), "measures/circuits/unseen.py",
    ),
    Family(
        "restricted_loss_blank",
        "Restricted loss on all pairs once the logits of unseen pairs are blanked: what the others alone give. A "
        "look-up table has no less in the mean.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), "measures/circuits/unseen.py",
    ),
    Family(
        "restricted_loss_random",
        "Restricted loss on all pairs of as many other frequencies, mean over 16 random sets.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), _CONTROLS,
    ),
    Family(
        "restricted_loss_random_sd",
        "Standard deviation of the same over the sets.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), _CONTROLS,
    ),
    Family(
        "excluded_loss_random",
        "Excluded loss on train of as many other frequencies, mean over 16 random sets.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), _CONTROLS,
    ),
    Family(
        "excluded_loss_random_sd",
        "Standard deviation of the same over the sets.",
        "nats", NOT_NEGATIVE, "here", ("circuits",), _CONTROLS,
    ),
    Family(
        "frac_explained",
        "Share of the logits' variance about their overall mean in Σ α_k cos w_k(a + b − c), over the key frequencies.",
        "1", SHARE, "arXiv:2301.05217, 4.1", ("circuits",), _EXPLAINED,
    ),
    Family(
        "frac_explained_within_classes",
        "The same share of the variance about the mean of each class.",
        "1", SHARE, "here", ("circuits",), _EXPLAINED,
    ),
    Family(
        "cosine_coefficient[k]",
        "Least-squares coefficient α_k of cos w_k(a + b − c) in the logits, of a key frequency.",
        "logits", ANY, "arXiv:2301.05217, 4.1", ("circuits",), _EXPLAINED,
    ),
)  # fmt: skip

_BY_PART = "Training pairs by which part answers them right alone: "
MEMORIZATION = (
    Family(
        "circuit_share[side]",
        "Mean margin of the circuit, P_S L and the mean logit, over that of all logits; about 0..1 in a run that "
        "groks, nan where the whole has no positive margin.",
        "1", ANY, "here", ("memorization",), _MEMORY,
    ),
    Family(
        "memorised_share[train]",
        "What is missing in `circuit_share[train]` to 1.",
        "1", ANY, "here", ("memorization",), _MEMORY,
    ),
    Family(
        "efficiency[whole]",
        "Mean margin on train per orbit-minimal norm.",
        "logits/weights", ANY, "arXiv:2309.02390", ("memorization",), _MEMORY,
    ),
    Family(
        "efficiency[circuit]",
        "Mean margin on train of the circuit alone per orbit-minimal norm of the whole network.",
        "logits/weights", ANY, "arXiv:2309.02390", ("memorization",), _MEMORY,
    ),
    Family(
        "efficiency[rest]",
        "The same of the logits without the circuit's waves.",
        "logits/weights", ANY, "arXiv:2309.02390", ("memorization",), _MEMORY,
    ),
    Family(
        "pairs_both[train]", f"{_BY_PART}the circuit, and the rest too.", "1", SHARE, "here", ("memorization",), _MEMORY
    ),
    Family("pairs_circuit_only[train]", f"{_BY_PART}the circuit.", "1", SHARE, "here", ("memorization",), _MEMORY),
    Family("pairs_rest_only[train]", f"{_BY_PART}the rest.", "1", SHARE, "here", ("memorization",), _MEMORY),
    Family(
        "pairs_neither[train]",
        f"{_BY_PART}neither. With both, circuit_only and rest_only it makes 1.",
        "1", SHARE, "here", ("memorization",), _MEMORY,
    ),
    Family(
        "pairs_together[train]",
        "Those of `pairs_neither[train]` that all logits together answer right.",
        "1", SHARE, "here", ("memorization",), _MEMORY,
    ),
    Family(
        "low_ipr_share[W_L]",
        "Share of the neurons whose row of W_L has an inverse participation ratio below ½: many frequencies.",
        "1", SHARE, "arXiv:2310.13061", ("memorization",), _MEMORY,
    ),
    Family(
        "label_fit[clean]",
        "Accuracy on training pairs that kept their label; only where labels are corrupted.",
        "1", SHARE, "arXiv:2310.13061", ("memorization",), _MEMORY,
    ),
    Family(
        "label_fit[corrupted]",
        "Accuracy on training pairs with a wrong label, against that label: learnt by heart.",
        "1", SHARE, "arXiv:2310.13061", ("memorization",), _MEMORY,
    ),
    Family(
        "label_fit[corrected]",
        "Accuracy on the same pairs against the true label, which was never shown.",
        "1", SHARE, "arXiv:2310.13061", ("memorization",), _MEMORY,
    ),
)  # fmt: skip

IRREPS = (
    Family(
        "irrep_share[irrep]",
        "Share of the logits' variance in functions ρ_ij(ab) of the product in one irrep, any weights to the classes; "
        "each pair's mean taken out.",
        "1", SHARE, "arXiv:2302.03025", ("irreps",), "measures/parts/representations.py",
    ),
    Family(
        "trace_similarity[irrep]",
        "Cosine of the angle between the logits and tr ρ(a b c⁻¹); 0 for the trivial irrep.",
        "1", COSINE, "arXiv:2302.03025", ("irreps",), "measures/parts/representations.py",
    ),
)  # fmt: skip

ABLATIONS = (
    Family(
        "loss[cut, by, side]",
        "Loss once a part of the last block is replaced, and what stands behind it has run anew.",
        "nats", NOT_NEGATIVE, "arXiv:2301.05217, 4.4", ("ablations",), _ABLATIONS,
    ),
    Family(
        "accuracy[cut, by, side]",
        "Accuracy of the same.",
        "1", SHARE, "arXiv:2301.05217, 4.4", ("ablations",), _ABLATIONS,
    ),
    Family(
        "loss[random cut, by, side]",
        "Loss without as many random neurons, mean over 4 draws.",
        "nats", NOT_NEGATIVE, "here", ("ablations",), _ABLATIONS,
    ),
    Family(
        "loss_std[random cut, by, side]",
        "Standard deviation of one such draw.",
        "nats", NOT_NEGATIVE, "here", ("ablations",), _ABLATIONS,
    ),
    Family(
        "accuracy[random cut, by, side]",
        "Accuracy without as many random neurons, mean over 4 draws.",
        "1", SHARE, "here", ("ablations",), _ABLATIONS,
    ),
    Family(
        "accuracy_std[random cut, by, side]",
        "Standard deviation of one such draw.",
        "1", SHARE, "here", ("ablations",), _ABLATIONS,
    ),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = SCORES + CIRCUITS + MEMORIZATION + IRREPS + ABLATIONS
