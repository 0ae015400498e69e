"""What the order of paired times tells of their ratio where most of it is censored: the sign test, turned round.

If the medians' ratio is e^b, then of a seed's two times, the one multiplied by e^b, either is as likely to be the
first. Which was first is known where one of them came before the record's end, and that it is known does not depend on
which it was: signs are a fair coin whatever the law of times and of seeds, and however many are censored.
"""

from dataclasses import dataclass

from circuitgrok.study.intervals import Interval


@dataclass(frozen=True)
class Signs:
    """How well the signs of differences go with a value of their median.

    Attributes:
        lower: What the difference of each pair is at least.
        upper: What it is at most.

    Example:
        >>> inf = float("inf")
        >>> signs = Signs((1.0, 1.2, 1.3, 1.1, 1.5, 1.4), (inf,) * 6)
        >>> print(signs.interval(0.95), signs.interval(0.9), sep=", ")  # (1/2)^6 is below 1/40, and (1/2)^5 below 1/20
        inf [1, inf], inf [1.1, inf]
        >>> signs.level(0.9)
        0.96875

    Source: J. Dixon and A. Mood 1946, J. Am. Stat. Assoc. 41, 557.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    @property
    def estimate(self) -> float:
        """The median: inf or -inf where it is censored, nan where it is on both sides."""
        import numpy as np

        low, high = float(np.median(self.lower)), float(np.median(self.upper))
        return (low + high) / 2

    def level(self, value: float) -> float:
        """Confidence level of the interval that ends at a value: one minus the value's two-sided p-value."""
        return max(0.0, 1 - 2 * min(self._chances(value)))

    def interval(self, level: float = 0.95) -> Interval:
        """The values that signs do not speak against; an end is open if too few differences are known to be inside."""
        import numpy as np

        cuts = np.unique([end for end in (*self.lower, *self.upper) if np.isfinite(end)])
        between = [cuts[0] - 1, *(cuts[1:] + cuts[:-1]) / 2, cuts[-1] + 1]
        more, less = np.array([self._chances(value) for value in between]).T <= (1 - level) / 2
        low, high = cuts[more[:-1]], cuts[less[1:]]
        return Interval(self.estimate, *(float(end) for end in (low.max(initial=-np.inf), high.min(initial=np.inf))))

    def _chances(self, value: float) -> tuple[float, float]:
        """Of at least as many differences above the value, and of as many below it, if it were the median."""
        from scipy.stats import binom

        above, below = sum(low >= value for low in self.lower), sum(high <= value for high in self.upper)
        return tuple(float(binom.sf(n - 1, above + below, 0.5)) for n in (above, below))  # pyright: ignore
