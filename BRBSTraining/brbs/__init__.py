"""BRBS: few-shot segmentation of medical images taught by registration (He et al., IEEE TNNLS 2022)."""

__version__ = "0.1.0"
