"""Parts of the BRBSTraining module: scene, studies and jobs as the panel sees them, and the panel itself."""
