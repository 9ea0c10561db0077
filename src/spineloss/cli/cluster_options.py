"""Options of a cluster, which studies and searches ask for alike."""

from typing import Annotated

import typer

Address = Annotated[
    str | None,
    typer.Option(help="Of a running Ray cluster, or auto; without it, one of this machine alone is started."),
]
Cpus = Annotated[int, typer.Option(min=1, help="CPUs of each task or job, and the threads that it trains with.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs of each task.")]
Partition = Annotated[str | None, typer.Option(help="The partition of SLURM.")]
