"""Parts of the BRBSSegmentation module: models, the worker, results in the scene, the panel."""
