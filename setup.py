"""Build step of the package; what it is and needs stands in pyproject.toml.

A wheel holds the folder ``configs`` as ``srn_d2/configs``. An editable installation needs no copy:
``srn_d2.config_files`` reads the folder beside the package.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = Path(__file__).parent / "configs"


class BuildWithConfigs(build_py):
    """Build the package's files, and copy the configs into it."""

    def run(self) -> None:
        if not self.editable_mode:  # nothing that an earlier build has left gets into this one
            shutil.rmtree(Path(self.build_lib) / "srn_d2", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            shutil.copytree(CONFIGS, self._built_configs())

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Paths of the built files, the configs among them."""
        outputs = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            names = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
            outputs += [str(self._built_configs() / name) for name in names]
        return outputs

    def _built_configs(self) -> Path:
        return Path(self.build_lib) / "srn_d2" / "configs"


setup(cmdclass={"build_py": BuildWithConfigs})
