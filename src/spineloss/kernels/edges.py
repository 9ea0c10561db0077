"""The voxels at the edge of a structure, counted."""

import torch


def edge_voxels(target: torch.Tensor, counted: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """How many voxels of each class touch another class, the image's edge or what does not count, through a face.

    Args:
        target: volumes (N, C, *spatial), the structure being where they are above 1/2, or labels (N, *spatial).
        counted: (N, 1 or C, *spatial) booleans; all by default.
        shape: (N, C, *spatial).

    Returns:
        (N, C). An axis of one voxel has no edge.

    >>> labels = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]])
    >>> edge_voxels(labels, None, torch.Size([1, 2, 3, 4])).tolist()
    [[3, 8]]
    """
    is_labels = target.ndim < len(shape)
    labels = target[:, None] if is_labels else (target > 0.5).to(torch.int8)
    if counted is not None:
        labels = torch.where(counted, labels, -1)
    at_edge = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(2, labels.ndim):
        size = labels.shape[axis]
        if size == 1:
            continue
        differs = labels.narrow(axis, 0, size - 1) != labels.narrow(axis, 1, size - 1)
        at_edge.narrow(axis, 0, size - 1).logical_or_(differs)
        at_edge.narrow(axis, 1, size - 1).logical_or_(differs)
        for end in (0, size - 1):
            at_edge.select(axis, end).fill_(True)
    if not is_labels:
        return (at_edge & (labels == 1)).flatten(2).sum(2)
    return torch.cat([(at_edge & (labels == one)).flatten(2).sum(2) for one in range(shape[1])], 1)
