"""What stands in for the Slicer application in tests.

`slicer-core` brings the real MRML library, PyQt5 the real Qt; this package adds the few names that only the application
has, over real nodes, real module logics and real widgets.
"""
