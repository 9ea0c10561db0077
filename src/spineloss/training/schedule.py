"""The learning rate: where it starts, by the network's width, and how it falls."""

POWER = 0.9  # of the polynomial, Sec. 8.2 of the thesis


def scaled_rate(width: int) -> float:
    """Adam's learning rate for a U-Net of a width: 0.001 * 64 / width.

    Adam moves each weight by about the rate per step, whatever the gradient. A layer of n inputs so changes its
    output by about n times the rate, and the rate has to fall as 1 / n for that change to stay the same (Yang et
    al.). 0.001 is the rate of the thesis (Hun 2021) at width 64. benchmarks/results/rates.md has three widths.

    References:
        Yang et al., Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer, 2021.

    >>> scaled_rate(64), scaled_rate(8)
    (0.001, 0.008)
    """
    return 0.001 * 64 / width


def poly_learning_rate(initial: float, epoch: int, epochs: int) -> float:
    """lr = initial (1 - epoch / epochs)^0.9 for epoch 0 ... epochs - 1 (Eq. 8.1).

    References:
        Chen et al., DeepLab, TPAMI 2017.

    >>> poly_learning_rate(0.001, 0, 100)
    0.001
    """
    return initial * (1 - epoch / epochs) ** POWER
