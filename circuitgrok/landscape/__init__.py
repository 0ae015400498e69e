"""The loss around a point: curvature, sampled volume, learning coefficients; `flat` makes losses of vectors."""
