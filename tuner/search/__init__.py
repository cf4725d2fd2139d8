"""Which trial comes next: methods by name, behind one interface."""

from tuner.search.method import SearchMethod
from tuner.search.search import METHODS, Search, make_method
from tuner.search.stopping import RULES, make_rule

__all__ = ["METHODS", "RULES", "Search", "SearchMethod", "make_method", "make_rule"]
