"""The commands, one module for each family. A module that stands here is loaded, and what it declares is offered."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
