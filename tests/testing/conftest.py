"""What the tests of this folder have from others."""

from tests.support.fixtures import script

__all__ = ["script"]
