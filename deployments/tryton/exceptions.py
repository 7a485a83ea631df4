"""What the export's call is refused with. License: MIT."""

from trytond.exceptions import UserError


class RecordingError(UserError):
    """An entry cannot be recorded, or the call cannot be read: nothing of the call was written."""
