"""Rules to matchers: `compile_rule` runs a checked rule through the stages (stages.py)."""

from detectord.compiler.compiled import CompiledRule, CompiledStep, RuleSet
from detectord.compiler.emit import Overflow
from detectord.compiler.stages import STAGES, Draft, compile_rule

__all__ = ["STAGES", "CompiledRule", "CompiledStep", "Draft", "Overflow", "RuleSet", "compile_rule"]
