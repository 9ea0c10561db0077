"""Which extra of the package brings which module, so that a missing one is named and not only missed."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "study": (
        "SimpleITK", "jinja2", "matplotlib", "monai", "nibabel", "PIL", "pydantic", "pydicom", "rich",
        "scipy", "sklearn", "typer", "yaml",
    ),
    "nnunet": ("nnunetv2", "rich", "typer"),
    "trackers": ("tensorboard", "wandb"),
    "cluster": ("ray", "submitit"),
}  # fmt: skip


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """One sentence that names the extra to install, or none where no extra brings the module.

    >>> missing_extra(ModuleNotFoundError("No module named 'monai.losses'", name="monai.losses"))
    "This needs monai, which is not installed: pip install 'spineloss[study]'."
    """
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return f"This needs {module}, which is not installed: pip install 'spineloss[{extra}]'."
    return None
