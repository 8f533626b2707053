"""The wheel carries the data and the lessons inside the package, as `labkit/shipped`."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py


class WithData(build_py):
    """Adds what lies beside the package in a checkout; an editable install finds it there."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shipped = Path(self.build_lib) / "labkit" / "shipped"
            for folder in ("data", "notebooks/source"):
                copytree(folder, shipped / folder, ignore=ignore_patterns("make", "__pycache__"), dirs_exist_ok=True)
            self.copy_file("matplotlibrc", str(shipped / "matplotlibrc"))


setup(cmdclass={"build_py": WithData})
