"""The methods that are compared: what each is called, how it is trained, how it finds label maps."""

from __future__ import annotations

from dataclasses import dataclass

NETWORK, VOTE, ANTS = "network", "vote", "ants"
ALONE = ("--segmentation-share", "1", "--registration-share", "0")


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        title: for people.
        finds: label maps by the segmentation network, by the vote of the atlases that the registration network
            warps, or by the vote of those that ANTs warps.
        options: of ``brbs train``, beside scans, length and seed.
        baseline: whether users could have it without this project's own ideas; ours are tested against the best.
        trained_as: the method whose trained model it takes; empty: its own.
    """

    title: str
    finds: str = NETWORK
    options: tuple[str, ...] = ()
    baseline: bool = False
    trained_as: str = ""


METHODS = {
    "ants": Method("ANTs SyN, majority vote", ANTS, baseline=True),
    "unet": Method(
        "U-Net on the atlases, ordinary augmentation",
        options=(*ALONE, "--coarse-share", "0", "--augmentation", "ordinary", "--class-balance", "0"),
        baseline=True,
    ),
    "registration": Method("registration network, majority vote", VOTE, baseline=True, trained_as="default"),
    "paper": Method("BRBS as published", options=("--preset", "paper"), baseline=True),
    "atlases-alone": Method(
        "default without the unlabeled scans",
        options=(*ALONE, "--coarse-share", "0.1"),
    ),
    "path": Method("default with path sampling", options=("--sampling", "path")),
    "without-s3p": Method("default without S3P", options=("--sampling", "none")),
    "without-kcc": Method("default without KCC", options=("--consistency-weight", "0")),
    "without-mmr": Method("default without MMR", options=("--mix-weight", "0", "--teaching-weight", "0")),
    "without-balance": Method("default, small structures not favoured", options=("--class-balance", "0")),
    "default": Method("default"),
}
