"""Samples to learn from and samples to test on."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples: `x` of shape `(n, d)`, `y` of shape `(n, C)`.

    Raises:
        ValueError: entries that are not finite, shapes that disagree, or no training samples.
    """

    name: str
    x_train: Float[np.ndarray, "_ d"]
    y_train: Float[np.ndarray, "_ c"]
    x_test: Float[np.ndarray, "_ d"]
    y_test: Float[np.ndarray, "_ c"]

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.ndim != 2 or y.ndim != 2:
                raise ValueError(
                    f"{self.name}, {part}: x and y need shapes (n, d) and (n, C), "
                    f"got {x.shape} and {y.shape}"
                )
            if len(x) != len(y):
                raise ValueError(f"{self.name}, {part}: x has {len(x)} samples but y has {len(y)}")
            for letter, array in (("x", x), ("y", y)):
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    row, column = bad[0].tolist()
                    raise ValueError(
                        f"{self.name}, {part}: {letter} is not finite in row {row}, column {column}"
                    )
        for letter in ("x", "y"):
            train, test = (getattr(self, f"{letter}_{part}") for part in ("train", "test"))
            if train.shape[1] != test.shape[1]:
                raise ValueError(
                    f"{self.name}: {letter} has {train.shape[1]} columns in train "
                    f"but {test.shape[1]} in test"
                )
        if len(self.x_train) == 0:
            raise ValueError(f"{self.name}: no training samples")

    @property
    def dims(self) -> int:
        """Number of input coordinates."""
        return self.x_train.shape[1]

    @property
    def outputs(self) -> int:
        """Number of output coordinates."""
        return self.y_train.shape[1]
