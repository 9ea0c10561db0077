"""The learning rate: where it starts, by optimiser and width, and how it rises and falls."""

from spineloss.training.optimisers import OptimiserName

POWER = 0.9  # of the polynomial, Sec. 8.2 of the thesis
SGD_RATE = 0.01  # nnU-Net's (Isensee et al., Nature Methods 2021)


def scaled_rate(width: int, optimiser: OptimiserName = "adam") -> float:
    """The learning rate for a U-Net of a width: 0.001 * 64 / width of Adam, 0.01 of SGD at any width.

    Adam moves each weight by about the rate per step, whatever the gradient. A layer of n inputs so changes its
    output by about n times the rate, and the rate has to fall as 1 / n for that change to stay the same (Yang et
    al.). 0.001 is the rate of the thesis (Hun 2021) at width 64. benchmarks/results/rates.md has three widths.

    SGD moves a weight by the rate times its gradient. Each filter starts at the same length whatever its number of
    inputs (He et al.), and before a normalisation its length alone scales the gradient: the rate stays nnU-Net's.

    References:
        Yang et al., Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer, 2021.

    >>> scaled_rate(64), scaled_rate(8), scaled_rate(8, "sgd")
    (0.001, 0.008, 0.01)
    """
    return 0.001 * 64 / width if optimiser == "adam" else SGD_RATE


def poly_learning_rate(initial: float, epoch: int, epochs: int, warm_up: int = 0) -> float:
    """lr = initial (1 - epoch / epochs)^0.9 for epoch 0 ... epochs - 1 (Eq. 8.1), once it has risen.

    With a warm-up of w epochs it is initial (epoch + 1) / (w + 1) in these, and then falls as if it began there.

    References:
        Chen et al., DeepLab, TPAMI 2017; Goyal et al., Accurate, large minibatch SGD, 2017 (the warm-up).

    >>> poly_learning_rate(0.001, 0, 100)
    0.001
    >>> [poly_learning_rate(0.03, epoch, 6, warm_up=2) for epoch in range(3)]
    [0.01, 0.02, 0.03]
    """
    if epoch < warm_up:
        return initial * (epoch + 1) / (warm_up + 1)
    return initial * (1 - (epoch - warm_up) / (epochs - warm_up)) ** POWER
