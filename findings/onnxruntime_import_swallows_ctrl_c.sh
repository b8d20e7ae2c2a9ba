#!/usr/bin/env bash
# Ctrl-C while `import onnxruntime` imports NumPy becomes an ImportError: "import numpy failed".
#
# Packages: onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# onnxruntime's extension module imports NumPy from C++ if nothing has done so before, and replaces any
# exception of that by an ImportError of its own, without a cause: KeyboardInterrupt, too. A program
# with a fallback (`except ImportError:` use PyTorch, OpenCV, ...) therefore goes on after Ctrl-C,
# with the other runtime, and one without says that NumPy is broken. With NumPy imported before, the
# KeyboardInterrupt stays one. The signal is raised here when the import reaches a module of NumPy.
#
# Output seen on 2026-11-30:
#   onnxruntime alone: ImportError: import numpy failed, cause None, context None
#   numpy before onnxruntime: imported
#   numpy alone: KeyboardInterrupt
#
# Exit status: 0 as described, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 numpy==2.4.6
cat >"$folder/interrupted.py" <<'PYTHON'
import importlib
import signal
import sys


class CtrlC:
    """Raises the signal of Ctrl-C when a module begins to be imported, once."""

    reached = False

    def find_spec(self, name, path=None, target=None):
        if name == "numpy.version" and not CtrlC.reached:
            CtrlC.reached = True
            signal.raise_signal(signal.SIGINT)


*before, module = sys.argv[1:]
for name in before:
    importlib.import_module(name)
sys.meta_path.insert(0, CtrlC())
try:
    importlib.import_module(module)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
except ImportError as error:
    print(f"ImportError: {error}, cause {error.__cause__}, context {error.__context__}")
else:
    print("imported" + ", interrupted" * CtrlC.reached)
PYTHON
run() { "$folder/venv/bin/python" "$folder/interrupted.py" "$@"; }
alone=$(run onnxruntime)
after=$(run numpy onnxruntime)
numpy=$(run numpy)
echo "onnxruntime alone: $alone"
echo "numpy before onnxruntime: $after"
echo "numpy alone: $numpy"
[ "$alone" = "ImportError: import numpy failed, cause None, context None" ] &&
    [ "$after" = "imported" ] && [ "$numpy" = "KeyboardInterrupt" ] || {
    echo "no longer as described" >&2
    exit 1
}
echo "as described"
