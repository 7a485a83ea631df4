"""The yardstick: a bare asynchronous httpx script that makes the export's requests and stores the bodies.

python tests/benchmarks/bare.py BASE_URL KEY FOLDER
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx


async def main(base_url: str, key: str, folder: Path) -> None:
    for name in ("rows", "items"):
        (folder / name).mkdir(parents=True)
    async with httpx.AsyncClient(base_url=base_url, auth=(key, ""), timeout=60) as pleo:
        listing = {"statuses": ["in_progress", "pending"], "limit": 100}
        (job,) = (await pleo.get("/v3/export-jobs", params=listing)).json()["data"]
        await pleo.post("/v3/export-job-events", json={"jobId": job["id"], "event": "started"})
        await _pages(pleo, f"/v3/export-jobs/{job['id']}/items", {}, folder / "rows")
        ids = await _pages(pleo, "/v3/export-items", {"job_id": job["id"]}, folder / "items")
        for start in range(0, len(ids), 100):
            batch = [
                {"accountingEntryId": id_, "status": "successful", "externalId": f"B-{start + n}"}
                for n, id_ in enumerate(ids[start : start + 100])
            ]
            answer = await pleo.put(f"/v3/export-jobs/{job['id']}/items", json=batch)
            answer.raise_for_status()
        await pleo.post("/v3/export-job-events", json={"jobId": job["id"], "event": "completed"})
        await pleo.get("/v3/export-jobs", params=listing)


async def _pages(pleo: httpx.AsyncClient, path: str, query: dict[str, Any], folder: Path) -> list[str]:
    ids: list[str] = []
    cursor: dict[str, str] = {}
    for number in range(1_000_000):
        answer = await pleo.get(path, params={**query, "limit": 100, **cursor})
        (folder / f"{number}.json").write_bytes(answer.raise_for_status().content)
        page = answer.json()
        ids += [element["accountingEntryId"] for element in page["data"]]
        if not page["pagination"]["hasNextPage"]:
            break
        cursor = {"after": page["pagination"]["endCursor"]}
    return ids


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
