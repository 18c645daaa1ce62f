"""What the tutorials, the documentation and curious people stand on: `equation` shows a formula, `check` an answer."""

from .equations import EquationPage, equation, listing
from .exercises import check

__all__ = ["EquationPage", "check", "equation", "listing"]
