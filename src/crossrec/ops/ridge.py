"""Ridge regression whose penalty is chosen by leave-one-out error."""

from __future__ import annotations

import torch
from torch import Tensor

PENALTIES = tuple(10.0**e for e in range(-4, 5))
"""Ridge penalties to choose from, in units of the mean square of a column times the number of rows."""


class Ridge:
    """Least squares with an intercept and an L2 penalty: the one of ``PENALTIES`` with the least leave-one-out error.

    Fits ``x_ND`` → ``y_NS`` in float64 by one eigendecomposition of the D × D moments. The leave-one-out residual of a
    row is its residual over one minus its diagonal entry of the hat matrix.
    """

    def __init__(self, x_ND: Tensor, y_NS: Tensor) -> None:
        x_ND, y_NS = x_ND.double(), y_NS.double()
        self.mean_x_D, self.mean_y_S = x_ND.mean(0), y_NS.mean(0)
        x_ND, y_NS = x_ND - self.mean_x_D, y_NS - self.mean_y_S
        eigenvalue_D, eigenvector_DD = torch.linalg.eigh(x_ND.T @ x_ND)
        eigenvalue_D = eigenvalue_D.clamp_min(0)
        rotated_ND = x_ND @ eigenvector_DD
        projected_DS = rotated_ND.T @ y_NS
        scale = float(eigenvalue_D.mean()) or 1.0
        least_error = float("inf")
        for penalty in PENALTIES:
            inverse_D = 1 / (eigenvalue_D + penalty * scale)
            hat_N = (rotated_ND.square() * inverse_D).sum(1) + 1 / len(x_ND)
            fitted_NS = rotated_ND @ (inverse_D[:, None] * projected_DS)
            error = float(((y_NS - fitted_NS) / (1 - hat_N).clamp_min(1e-6)[:, None]).square().sum())
            if error < least_error:
                least_error, self.penalty = error, penalty
                self.weight_DS = eigenvector_DD @ (inverse_D[:, None] * projected_DS)

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Predictions, (N, S) float32."""
        predicted_NS: Tensor = ((x_ND.double() - self.mean_x_D) @ self.weight_DS + self.mean_y_S).float()
        return predicted_NS
