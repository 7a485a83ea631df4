"""Step 2, pre-export validation: can this job be done at all? Nothing is written to the accounting system yet."""

from __future__ import annotations

from blocks.erp.base import Capabilities
from blocks.erp.errors import ErpConfigurationError, ErpLoginRefused
from blocks.erp.reference import Reference
from blocks.pleo.models import ExportJob, JobFailure
from flows.failures import JOB_FAILURES, JobFails
from flows.session import Session


async def validate_job(session: Session, job: ExportJob) -> Reference:
    """The accounting system's reference data, once it is known to take entries. Raises JobFails with what to change."""
    erp, settings = session.erp, session.settings
    if not settings.accepts(job.company_id):
        raise JobFails(
            JobFailure.INVALID_CONFIGURATION,
            f"Company {job.company_id} is mapped to no company of the accounting system: add it to the settings.",
        )
    try:
        await erp.validate()
        _check_bills(job, erp.describe())
        return settings.applied_to(await erp.load_reference())
    except ErpConfigurationError as error:
        raise JobFails(JOB_FAILURES[error.problem], str(error)) from error
    except ErpLoginRefused as error:
        raise JobFails(JobFailure.ERP_AUTHENTICATION, str(error)) from error


def _check_bills(job: ExportJob, limits: Capabilities) -> None:
    if not job.vendor_based_bookkeeping or limits.bills:
        return
    need = f"{limits.bills_need}, or " if limits.bills_need else ""
    raise JobFails(
        JobFailure.INVALID_CONFIGURATION,
        f"This export asks for vendor-based bookkeeping, which {limits.name} cannot do here: "
        f"{need}switch Vendor Tagging off in Pleo and export again.",
    )
