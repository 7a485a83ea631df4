"""Tryton's module `pleo_export`: one accounting entry for each expense that Pleo exports. License: MIT."""
