"""What was published and has no row, and why: (what, where, why)."""

LEFT_OUT = [
    ("Times to grok, and how they grow by 40 to 50 % for each per cent of data less", "Power et al. 2022, "
     "arXiv:2201.02177", "figures without numbers; presets `power`, `power-s5` train them, 27 and 57 minutes a run"),
    ("Dropout, ℓ1, data fractions and other p", "Nanda et al. 2023, arXiv:2301.05217, appendix D", "the appendix "
     "contradicts itself on weight decay; the rest is one seed for each of many settings of 18 minutes"),
    ("Reduced losses of MNIST by α and N", "Liu et al. 2022, arXiv:2210.01117", "landscapes without numbers; "
     "`analyses/induced_grokking.py` asks the same of digits and MNIST, with intervals"),
    ("IMDb and QM9", "Liu et al. 2022, arXiv:2210.01117", "an LSTM and a graph network, which the package has not"),
    ("Slingshots in float32 and none in float64", "Thilak et al. 2022, arXiv:2206.04817; arXiv:2605.06152",
     "`analyses/slingshots.py` has it as claims, with intervals"),
    ("The slope of the delay over the held norm", "Truong 2026, arXiv:2606.13753", ""
     "`analyses/norm_scale_or_step.py` has it, of a transformer"),
    ("Semi-grokking and ungrokking", "Varma et al. 2023, arXiv:2309.02390", "up to 1.8 · 10⁷ epochs"),
    ("The learning coefficient along training", "devinterp, notebook grokking; Lau et al. 2023, arXiv:2308.12108",
     "curves without numbers; `analyses/llc_along_training.py` asks for their order"),
    ("λ̂ of a rescaled network, 164.7 to 168.5 over eight decades", "Furman and Lau 2024, arXiv:2402.03698",
     "the pull to the point would have to be rescaled with the weights, and is one number for all here"),
    ("Representations in S₅", "Chughtai et al. 2023, arXiv:2302.03025", "which ones are used varies with the seed; "
     "preset `chughtai-s5` trains it, 250,000 epochs in the paper"),
    ("Time of lazy training against ln α", "Lyu et al. 2023, arXiv:2311.18817; Kumar et al. 2023, arXiv:2310.06110",
     "without decay the times are beyond any budget, and the regression task is not in the package"),
    ("The gap of a maximum-margin network along training", "Morwani et al. 2023, arXiv:2311.07568",
     "its L2,3 penalty is not in the package; the bound and the construction are rows A4"),
    ("Bits per weight, 2.16", "PerceptronV, grokking-capacity", "best found over learning rates and steps: hours"),
    ("Low-IPR neurons pruned first lose the wrong labels", "Doshi et al. 2023, arXiv:2310.13061", "a figure "
     "without numbers"),
    ("HMC, anti-regularisation and repulsion near 50 % test accuracy", "Hoogland 2023, 'Gradient surfing'",
     "no hyperparameters; `analyses/random_motion.py` asks the same"),
]  # fmt: skip
