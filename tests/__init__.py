"""The tests."""

import sys
from pathlib import Path

# As pytest has it by pyproject.toml; `python -m tests.bench` and the long chaos runs need it too.
sys.path.append(str(Path(__file__).parent.parent / ".ci"))
