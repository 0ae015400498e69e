"""How far parts that were found are the parts that there are: of groupings, of rankings, of spans.

Source: Hubert and Arabie 1985 for groupings; Bjorck and Golub 1973 for the angles between spans.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RELATIVE = 1e-10  # singular values below this share of the largest count as 0


def adjusted_rand(found: Int[Tensor, " block"], true: Int[Tensor, " block"]) -> float:
    """Agreement of two groupings: 1 if they are the same up to names, 0 in the mean if drawn at random.

    Example:
        >>> adjusted_rand(torch.tensor([2, 2, 0, 0]), torch.tensor([0, 0, 1, 1]))
        1.0
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(true.cpu().numpy(), found.cpu().numpy()))


def average_precision(scores: Float[Tensor, " candidate"], true: Int[Tensor, " hit"]) -> float:
    """Area under precision over recall of a ranking: 1 if all true ones come first; their share if it is random.

    Args:
        scores: Of each candidate, the larger the sooner.
        true: The places of those that should be found.

    Example:
        >>> round(average_precision(torch.tensor([0.9, 0.1, 0.5, 0.2]), torch.tensor([0, 3])), 4)
        0.8333
    """
    from sklearn.metrics import average_precision_score

    is_true = torch.zeros(len(scores), dtype=torch.bool)
    is_true[true] = True
    return float(average_precision_score(is_true.numpy(), scores.cpu().numpy()))


def principal_cosines(one: Float[Tensor, "row pair"], other: Float[Tensor, "other pair"]) -> Float[Tensor, " angle"]:
    """Cosines of the principal angles between the spans of two sets of rows, the largest first; float64.

    Example:
        >>> principal_cosines(torch.eye(3)[:2], torch.tensor([[1.0, 1, 0], [0, 0, 2]])).round(decimals=9)
        tensor([1., 0.], dtype=torch.float64)
    """
    spans = []
    for rows in (one, other):
        _, sizes, basis = torch.linalg.svd(rows.double(), full_matrices=False)
        spans.append(basis[sizes > RELATIVE * sizes[:1]])
    return torch.linalg.svdvals(spans[0] @ spans[1].T).clamp(max=1.0)
