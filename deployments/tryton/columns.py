"""Values that name the same columns, so that the database takes all records in one statement. License: MIT."""

from trytond.model import fields


def with_same_columns(model, records):
    """The values of new records with every column that one of them names; what is not given is empty, as it would be
    anyway. The records that they hold are treated likewise. Columns for which Tryton has a default are left alone."""
    named = set().union(*records)
    columns = {
        name
        for name in named
        if name in model._fields and not hasattr(model._fields[name], "set") and name not in model._defaults
    }
    records = [{**dict.fromkeys(columns), **values} for values in records]
    for name in named & model._fields.keys():
        if isinstance(model._fields[name], fields.One2Many):
            _with_same_columns_within(
                model._fields[name].get_target(), [values for values in records if values.get(name)], name
            )
    return records


def _with_same_columns_within(target, records, name):
    """Treats the new records that each of the values holds in the field of that name."""
    given = [action[1] for values in records for action in values[name] if action[0] == "create"]
    made = iter(with_same_columns(target, [values for some in given for values in some])) if given else iter(())
    for values in records:
        values[name] = [
            ["create", [next(made) for _ in action[1]]] if action[0] == "create" else action for action in values[name]
        ]
