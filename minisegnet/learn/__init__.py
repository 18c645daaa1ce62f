"""For readers, tutorials and documentation: `equation` shows a formula beside its code, `check` tests a reader's own function."""

from .equations import EquationPage, equation, listing
from .exercises import check
from .formulas import Formula, FormulaError, compute

__all__ = ["EquationPage", "Formula", "FormulaError", "check", "compute", "equation", "listing"]
