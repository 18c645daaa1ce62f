"""What the tutorials, the documentation and curious people stand on: `equation` shows a formula, `check` an answer."""

from .equations import EquationPage, equation, listing
from .exercises import check
from .formulas import Formula, FormulaError, compute

__all__ = ["EquationPage", "Formula", "FormulaError", "check", "compute", "equation", "listing"]
