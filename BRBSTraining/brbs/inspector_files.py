"""Names of the files that ``brbs warp`` writes into its output folder; torch is not needed to read them."""

GENERATED = "generated.nrrd"
GENERATED_LABELS = "generated.seg.nrrd"
ATLAS = "atlas.nrrd"
ATLAS_LABELS = "atlas.seg.nrrd"
STYLE_LABELS = "style.seg.nrrd"
STYLE_SWITCH = "style_switch.nrrd"
STYLE_DIFFERENCE = "style_difference.nrrd"
SPACE = "space.nrrd"
DISPLACEMENT = "displacement.h5"
JACOBIAN = "jacobian.nrrd"
FIGURES = "figures.json"
CONTACT_SHEET = "contact_sheet.png"
SAMPLES = "samples.png"  # only where samples were asked for

FILES = (
    GENERATED,
    GENERATED_LABELS,
    ATLAS,
    ATLAS_LABELS,
    STYLE_LABELS,
    STYLE_SWITCH,
    STYLE_DIFFERENCE,
    SPACE,
    DISPLACEMENT,
    JACOBIAN,
    FIGURES,
    CONTACT_SHEET,
)
