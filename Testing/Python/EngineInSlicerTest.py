"""Run by ctest inside Slicer: the engine is found there, and what the modules use of it needs no PyTorch."""

import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path


class EngineInSlicerTest(unittest.TestCase):
    def test_modules_do_not_import_torch(self):
        code = "import sys, brbs.study, brbs.job, brbs.checks, brbs.settings; sys.exit('torch' in sys.modules)"
        self.assertEqual(self.run_engine(["-c", code]).returncode, 0)

    def test_child_process_finds_the_engine(self):
        self.assertEqual(self.run_engine(["-c", "import brbs"]).returncode, 0)

    def run_engine(self, arguments: list) -> subprocess.Popen:
        from BRBSTrainingLib.Engine import Engine

        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            process = Engine().start(arguments, Path(folder) / "output.txt", own=True)
            end = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            print((Path(folder) / "output.txt").read_text(encoding="utf-8"), file=sys.stderr)
            return process
